#!/bin/bash
# Lay a system that conmon is tested in: lay-system.sh debian13|testing
# It is a folder, build/systems/NAME, and is kept. MIRROR in the environment is where its packages
# come from; by default, where this machine's come from, if that is a Debian too.
set -eu
cd "$(dirname "$0")/.."

name=${1:-}
options=()
case $name in
    debian13) suite=trixie ;;
    testing)
        suite=forky
        # a mirror may be a while behind, and its index then counts as out of date
        options+=(--aptopt='Acquire::Check-Valid-Until "false"')
        ;;
    *)
        echo "There is no system '$name', only debian13 and testing." >&2
        exit 2
        ;;
esac
folder=build/systems/$name
[ ! -e "$folder/laid" ] || exit 0

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
echo "laying $folder: Debian's $suite, half a minute"
rm -rf "$folder"
mkdir -p build/systems
mmdebstrap --quiet --variant=apt --mode=root "${options[@]}" \
    --include=ca-certificates,libc-bin,mount "$suite" "$folder" "deb $MIRROR $suite main"
# Certificates of this machine, beside which its package index may stand.
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
    cp /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/"
fi
for file in /etc/pip.conf /etc/resolv.conf /etc/hosts; do
    [ ! -e "$file" ] || cp -L "$file" "$folder/etc/"
done
touch "$folder/laid"
