#!/bin/bash
# Start a system as a machine, with its own kernel and systemd, and run a command in it:
#   machine.sh testing|arm64|arm64-16k COMMAND [ARGUMENT...]
# arm64-16k is arm64 with a kernel whose pages have 16 KiB.
# Emulated, so ten times slower and more. The command runs as root, in /src, as a systemd service;
# what it writes is passed on, as is its status. Status 75 asks for a reboot: then it runs again.
# Nothing that it changes is kept.
set -eu
cd "$(dirname "$0")/.."

hours=6
name=$1
shift
folder=build/systems/${name%-16k}
# Old processors: of newer ones' features the emulator has faults (a kernel's panic).
case $name in
    testing) needs=machine emulator=(qemu-system-x86_64 -cpu Nehalem) kernel=amd64 terminal=ttyS0 ;;
    arm64 | arm64-16k)
        needs=arm64 emulator=(qemu-system-aarch64 -M virt -cpu cortex-a76) kernel=$name
        terminal=ttyAMA0
        ;;
    *)
        echo "There is no machine '$name', only testing, arm64 and arm64-16k." >&2
        exit 2
        ;;
esac
disk=build/systems/$name.ext4
console=build/systems/$name.console
[ -e "$folder/src" ] || {
    echo "Nothing is built in $folder: tools/check-system.sh" >&2
    exit 1
}
patience='systemd.default_device_timeout_sec=900 systemd.default_timeout_start_sec=900'
tools/deps.sh "$needs"

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
timeout --foreground "${hours}h" "${emulator[@]}" \
    -accel tcg,thread=multi,tb-size=512 -smp 2 -m 4G -nodefaults \
    -display none -serial "file:$console" \
    -kernel "$(echo "$folder"/boot/vmlinuz-*-"$kernel")" \
    -initrd "$(echo "$folder"/boot/initrd.img-*-"$kernel")" \
    -append "root=/dev/vda rw console=$terminal quiet mitigations=off audit=0 apparmor=0 $patience" \
    -drive "file=$disk,format=raw,if=none,id=disk,cache=unsafe" -device virtio-blk-pci,drive=disk \
    -device virtio-rng-pci -device virtio-serial-pci -chardev file,id=job,path=/dev/stdout \
    -device virtserialport,chardev=job,name=job </dev/null |
    sed -u 's/\r$//' | tee "$written"
code=$(sed -n 's/^exit status \([0-9]*\)$/\1/p' "$written" | tail -n 1)
[ -n "$code" ] || {
    echo "It did not come to its end; $console has what it said." >&2
    exit 1
}
exit "$code"
