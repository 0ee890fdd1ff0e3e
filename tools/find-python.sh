#!/bin/sh
# Print the path of a Python that conmon can be built with: find-python.sh [PYTHON]
# Without an argument, the first of the usual names that will do.
set -eu

# Runs under any Python, however old: prints what it lacks.
check='
import os, sys, sysconfig
lacks = []
if sys.version_info < (3, 11):
    lacks.append("is only version %d.%d" % sys.version_info[:2])
elif sys.version_info >= (3, 15):
    lacks.append("is version %d.%d, which conmon was not tried with" % sys.version_info[:2])
elif not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    lacks.append("has no headers (Python.h)")
try:
    import ensurepip, venv
except ImportError:
    lacks.append("has no module venv with pip in it")
print(" and ".join(lacks))
'

[ $# -gt 0 ] || set -- python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11
found=''
for name; do
    path=$(command -v "$name") || continue
    lacks=$("$path" -c "$check" 2>&1) || lacks="does not work: $lacks"
    if [ -z "$lacks" ]; then
        echo "$path"
        exit 0
    fi
    found="$found
  $path $lacks"
done
cat >&2 <<EOF
conmon is built with Python 3.11 to 3.14, its headers and its module venv.${found:-
  There is no $1.}
\`make deps\` installs what the distribution has. \`make PYTHON=PATH\` takes another Python.
EOF
exit 1
