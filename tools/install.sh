#!/bin/sh
# Install build/conmon into a directory: install.sh DIRECTORY
# By rename, so that a conmon that runs keeps the file that it was started from.
set -eu
new=$1/.conmon.$$
trap 'rm -f "$new"' EXIT
mkdir -p "$1"
install -m 755 "$(dirname "$0")/../build/conmon" "$new"
mv -fT "$new" "$1/conmon"
echo "installed $1/conmon"
