#!/bin/bash
# Build conmon in a system, and run the tests there: check-system.sh NAME JOBS [PYTEST-ARGUMENT...]
# NAME: here; what lay-system.sh lays; or vm, which is testing with systemd as the first process, and
# for the tests of a whole machine. Prints first what the system is (versions.sh).
set -eu
cd "$(dirname "$0")/.."

name=$1
jobs=$2
shift 2
folder=$name
[ "$name" != vm ] || folder=testing
inside=(tools/in-system.sh "$folder")
if [ "$name" = here ]; then
    inside=()
else
    tools/lay-system.sh "$folder"
fi
"${inside[@]}" tools/deps.sh test
"${inside[@]}" make --no-print-directory dev
if [ "$name" = vm ]; then
    tools/machine.sh sh -c 'tools/versions.sh && exec tools/halves.sh'
else
    "${inside[@]}" tools/versions.sh
    "${inside[@]}" make --no-print-directory test JOBS="$jobs" PYTEST_ARGS="$*"
fi
