#!/bin/bash
# Lay a system that conmon is tested in: lay-system.sh debian13|testing|arm64
# It is a folder, build/systems/NAME, and is kept. testing and arm64 have kernels and systemd of their
# own, to be started by machine.sh; qemu-user runs the programs of arm64 before that. MIRROR in the
# environment is where packages come from; by default, where this machine's come from, if that is a
# Debian too.
set -eu
cd "$(dirname "$0")/.."

name=${1:-}
options=()
packages=ca-certificates,libc-bin,mount
# what makes a folder a machine
machine=systemd-sysv,dbus,dbus-user-session,libpam-systemd,udev,kmod,initramfs-tools,e2fsprogs
case $name in
    debian13) suite=trixie ;;
    testing)
        suite=forky
        packages+=,$machine,systemd-oomd,criu,libcriu2,linux-image-cloud-amd64
        ;;
    arm64)
        suite=trixie
        packages+=,$machine,linux-image-cloud-arm64,linux-image-arm64-16k
        # Its initrd is made under emulation, so it gets no more drivers than machine.sh needs.
        # shellcheck disable=SC2016 # for the shell of the hook
        options=(--arch=arm64 --setup-hook='cd "$1" &&
            mkdir -p etc/initramfs-tools/conf.d usr/share/initramfs-tools/modules.d &&
            echo MODULES=list >etc/initramfs-tools/conf.d/machine &&
            printf "%s\n" virtio_pci virtio_blk ext4 >usr/share/initramfs-tools/modules.d/machine')
        ;;
    *)
        echo "There is no system '$name', only debian13, testing and arm64." >&2
        exit 2
        ;;
esac
folder=build/systems/$name
if [ "$name" = arm64 ]; then
    tools/deps.sh arm64
    formats=/proc/sys/fs/binfmt_misc # without systemd nobody mounts it
    [ -e $formats/register ] || mount -t binfmt_misc binfmt_misc $formats
    [ -e $formats/qemu-aarch64 ] || update-binfmts --enable qemu-aarch64
fi
[ "$(cat "$folder/laid" 2>/dev/null)" != "$packages" ] || exit 0

# a mirror may be a while behind, and its index of testing then counts as out of date
[ "$suite" != forky ] || options+=(--aptopt='Acquire::Check-Valid-Until "false"')
if [ -z "${MIRROR:-}" ]; then
    MIRROR=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] *\)\?\([^ ]*\) .*/\2/p' \
        /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null |
        grep -v security | head -n 1) || :
fi
[ -n "$MIRROR" ] || {
    echo 'Where do packages of Debian come from? MIRROR=http://... names a mirror.' >&2
    exit 1
}
tools/deps.sh system
echo "laying $folder: Debian's $suite, half a minute, or for another processor ten"
rm -rf "$folder"
mkdir -p build/systems
mmdebstrap --quiet --variant=apt --mode=root "${options[@]}" \
    --include="$packages" "$suite" "$folder" "deb $MIRROR $suite main"
# Certificates of this machine, beside which its package index may stand.
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
    cp /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/"
fi
for file in /etc/pip.conf /etc/resolv.conf /etc/hosts; do
    [ ! -e "$file" ] || cp -L "$file" "$folder/etc/"
done
echo "$packages" >"$folder/laid"
