#!/bin/bash
# Run the tests of a whole machine in it, with a reboot between: halves.sh [PYTEST-ARGUMENT...]
# Exit status 75: the machine has to reboot, and then to run this again.
set -eu
cd "$(dirname "$0")/.."

first=/var/lib/conmon-first-half
pytest=(build/venv/bin/python -P -m pytest -v -p no:cacheprovider "$@")
status=0
if [ ! -e "$first" ]; then
    export CONMON_MACHINE=before
    # what the reboot is to find is made last
    "${pytest[@]}" tests/machine/test_[!r]*.py tests/machine/test_reboot.py || status=$?
    echo "$status" >"$first"
    exit 75
fi
export CONMON_MACHINE=after
"${pytest[@]}" tests/machine/test_reboot.py || status=$?
[ "$(cat "$first")" = 0 ] || exit 1
exit "$status"
