#!/bin/bash
# Build conmon in a system, and run the tests there: check-system.sh NAME JOBS [PYTEST-ARGUMENT...]
# NAME: here, or what lay-system.sh lays. Prints first what the system is (versions.sh).
set -eu
cd "$(dirname "$0")/.."

name=$1
jobs=$2
shift 2
inside=(tools/in-system.sh "$name")
if [ "$name" = here ]; then
    inside=()
else
    tools/lay-system.sh "$name"
fi
"${inside[@]}" tools/deps.sh test
"${inside[@]}" make --no-print-directory dev
"${inside[@]}" tools/versions.sh
"${inside[@]}" make --no-print-directory test JOBS="$jobs" PYTEST_ARGS="$*"
