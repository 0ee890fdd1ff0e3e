#!/bin/bash
# Run a command in a system that lay-system.sh has laid, as root, in a copy of this tree (/src):
#   in-system.sh debian13|testing|arm64 COMMAND [ARGUMENT...]
# It has mounts of its own, and shares all else with this machine: its kernel, pids and network.
set -eu
cd "$(dirname "$0")/.."

name=$1
shift
folder=$PWD/build/systems/$name
[ -e "$folder/laid" ] || {
    echo "There is no $folder: make system SYSTEM=$name" >&2
    exit 1
}

# What was built there stays; a file that has gone here goes there too.
mkdir -p "$folder/src"
find "$folder/src" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
{
    git ls-files -z --cached --others --exclude-standard
    printf '.git\0'
} | tar --create --null --files-from=- --ignore-failed-read 2>/dev/null |
    tar --extract --directory "$folder/src" --no-same-owner

# podman asks crun for cgroups, and crun refuses a v2 hierarchy beside those of v1.
# shellcheck disable=SC2016 # for the shell inside
exec unshare --mount --propagation private bash -euc '
folder=$1
shift
umount /sys/fs/cgroup/unified 2>/dev/null || :
mount --bind "$folder" "$folder"
mount -t proc proc "$folder/proc"
mount --rbind /sys "$folder/sys"
mount --rbind /dev "$folder/dev"
mount -t tmpfs -o mode=755 tmpfs "$folder/run"
cd "$folder"
# Not only a chroot: whoever enters this mount namespace must find the same root.
pivot_root . mnt
umount -l /mnt
exec /usr/bin/env --chdir=/src HOME=/root LC_ALL=C.UTF-8 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PODMAN_IGNORE_CGROUPSV1_WARNING=1 "$@"
' bash "$folder" "$@"
