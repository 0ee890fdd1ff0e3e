#!/bin/bash
# Start the system `testing` as a machine, with its own kernel and systemd, and run a command in it:
#   machine.sh COMMAND [ARGUMENT...]
# Emulated, so ten times slower and more. The command runs as root, in /src, as a systemd service;
# what it writes is passed on, as is its status. Status 75 asks for a reboot: then it runs again.
# Nothing that it changes is kept.
set -eu
cd "$(dirname "$0")/.."

hours=6
folder=build/systems/testing
disk=$folder.ext4
[ -e "$folder/src" ] || {
    echo "Nothing is built in $folder: make check-vm" >&2
    exit 1
}
patience='systemd.default_device_timeout_sec=900 systemd.default_timeout_start_sec=900'
tools/deps.sh machine

{
    echo '#!/bin/bash'
    printf 'command=('
    printf '%q ' "$@"
    cat <<'END'
)
# Not by a dependency: udev may need longer than systemd waits for a device.
for _ in {1..900}; do
    [ ! -e /dev/virtio-ports/job ] || break
    sleep 1
done
exec </dev/null >/dev/virtio-ports/job 2>&1
# As for somebody who has logged in: podman leaves monitors in a service that it is called from.
unset INVOCATION_ID JOURNAL_STREAM SYSTEMD_EXEC_PID
status=0
"${command[@]}" || status=$?
if [ "$status" = 75 ]; then
    echo 'The machine reboots.'
    exec systemctl --no-block reboot
fi
printf '\nexit status %d\n' "$status"
exec systemctl --no-block poweroff
END
} >"$folder/job"
chmod 755 "$folder/job"
cat >"$folder/etc/systemd/system/job.service" <<'END'
[Unit]
Description=The command of machine.sh
After=systemd-user-sessions.service dbus.service
[Service]
Type=simple
WorkingDirectory=/src
Environment=HOME=/root LC_ALL=C.UTF-8
Environment=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
Delegate=yes
ExecStart=/job
END
mkdir -p "$folder/etc/systemd/system/multi-user.target.wants"
ln -sf ../job.service "$folder/etc/systemd/system/multi-user.target.wants/job.service"
rm -f "$disk"
mke2fs -q -t ext4 -d "$folder" "$disk" 12G

# What it writes goes to both; the last line has the status.
written=$(mktemp)
trap 'rm -f "$disk" "$written"' EXIT
# An old processor: of newer ones' features the emulator has faults (a kernel's panic).
timeout --foreground "${hours}h" qemu-system-x86_64 \
    -accel tcg,thread=multi,tb-size=512 -cpu Nehalem -smp 2 -m 4G -nodefaults \
    -display none -serial "file:$folder.console" \
    -kernel "$(echo "$folder"/boot/vmlinuz-*)" -initrd "$(echo "$folder"/boot/initrd.img-*)" \
    -append "root=/dev/vda rw console=ttyS0 quiet mitigations=off audit=0 apparmor=0 $patience" \
    -drive "file=$disk,format=raw,if=none,id=disk,cache=unsafe" -device virtio-blk-pci,drive=disk \
    -device virtio-rng-pci -device virtio-serial-pci -chardev file,id=job,path=/dev/stdout \
    -device virtserialport,chardev=job,name=job </dev/null |
    sed -u 's/\r$//' | tee "$written"
code=$(sed -n 's/^exit status \([0-9]*\)$/\1/p' "$written" | tail -n 1)
[ -n "$code" ] || {
    echo "It did not come to its end; $folder.console has what it said." >&2
    exit 1
}
exit "$code"
