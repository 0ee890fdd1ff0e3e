#!/bin/bash
# Build conmon in a system, and run the tests there: check-system.sh NAME JOBS [PYTEST-ARGUMENT...]
# NAME: here; what lay-system.sh lays; or vm, which is testing with systemd as the first process, and
# for the tests of a whole machine. arm64 and arm64-16k are machines too (machine.sh), for the demo and
# the tests of core and contract. Prints first what the system is (versions.sh). SYSTEM_TESTS in the
# environment: what is run in a folder, instead of all that depends on the system.
set -eu
cd "$(dirname "$0")/.."

name=$1
jobs=$2
shift 2
# What depends on the system. The rest is the same everywhere, or too slow for every system.
tests='tests/unit tests/core tests/contract tests/real_podman tests/differential tests/ctl tests/watch'
tests=${SYSTEM_TESTS:-$tests}
folder=${name%-16k}
[ "$name" != vm ] || folder=testing
inside=(tools/in-system.sh "$folder")
if [ "$name" = here ]; then
    inside=()
else
    tools/lay-system.sh "$folder"
fi
"${inside[@]}" tools/deps.sh test
case $name in
    vm)
        "${inside[@]}" make --no-print-directory dev
        tools/machine.sh testing sh -c 'tools/versions.sh && exec tools/halves.sh'
        ;;
    arm64*)
        tools/build-arm64.sh
        "${inside[@]}" python3 tools/venv.py build/venv test ctl
        # shellcheck disable=SC2016 # for the shell there
        tools/machine.sh "$name" sh -ec 'tools/versions.sh
            build/venv/bin/python -m demo build/conmon
            CONMON_EMULATED=1 exec build/venv/bin/python -P -m pytest -v -p no:cacheprovider \
                -n 2 --dist loadfile tests/core tests/contract "$@"' sh "$@"
        ;;
    *)
        "${inside[@]}" make --no-print-directory dev
        "${inside[@]}" tools/versions.sh
        "${inside[@]}" make --no-print-directory test JOBS="$jobs" PYTEST_ARGS="$tests $*"
        ;;
esac
