#!/bin/sh
# Print what this system is, a line each: NAME VALUE; `-` for what is not there.
set -eu

first() { "$@" 2>/dev/null | head -n 1 | sed 's/^[^0-9]*//; s/[ ,].*//'; }
say() { echo "$1 ${2:--}"; }

# shellcheck source=/dev/null
say system "$(. /etc/os-release && echo "$PRETTY_NAME")"
say processor "$(uname -m)"
say kernel "$(uname -r)"
say cgroup "$([ -e /sys/fs/cgroup/cgroup.controllers ] && echo v2 || echo v1)"
say init "$(cat /proc/1/comm)"
say systemd "$(first systemctl --version)"
say Python "$(first build/venv/bin/python --version)"
for program in podman crun runc; do
    say $program "$(first $program --version)"
done
say 'C conmon' "$(first /usr/bin/conmon --version)"
