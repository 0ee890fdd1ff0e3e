#!/bin/sh
# Build build/conmon, and the package for tests and tools under build/stage:
#   build.sh [--package] [MESON-OPTION...]
# --package: without the program. PYTHON in the environment names the Python to build with, VENV where
# what it needs of other packages is installed (build/venv).
set -eu
cd "$(dirname "$0")/.."
top=$PWD
venv=${VENV:-build/venv}
package=
if [ "${1:-}" = --package ]; then
    package=yes
    shift
fi

fail() {
    echo "$*" >&2
    exit 1
}

command -v cc >/dev/null || fail "There is no C compiler (cc). \`make deps\` installs one."
python=$(tools/find-python.sh ${PYTHON:+"$PYTHON"})
"$python" tools/venv.py "$venv" build
PATH=$top/$venv/bin:$PATH

# A build directory is bound to its Python, its place and its options.
key="$* $(cat "$venv/made-by")"
if [ "$(cat build/meson/configured-for 2>/dev/null)" != "$key" ]; then
    rm -rf build/meson
    echo "configuring build/meson"
    meson setup "$@" -Dpython.platlibdir=/stage -Dpython.bytecompile=-1 \
        build/meson >build/meson.log 2>&1 || {
        cat build/meson.log >&2
        exit 1
    }
    grep '^.*WARNING: No static libpython' build/meson.log >&2 || :
    echo "$key" >build/meson/configured-for
fi

built=
if [ -n "$package" ]; then
    built=_fastio$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
fi
# The linker's warnings about functions of a static libc that conmon never calls are no news.
ninja -C build/meson --quiet ${built:+"$built"} >build/ninja.log 2>&1 || {
    cat build/ninja.log >&2
    exit 1
}
news=$(grep -v -e ': in function `' -e 'statically linked applications' \
    -e 'does not take linker garbage collection into account' build/ninja.log) || :
case $news in
    *warning:*) echo "$news" >&2 ;;
esac

rm -rf build/stage
DESTDIR=$top/build meson install -C build/meson --no-rebuild --quiet --tags python-runtime
[ -z "$package" ] || exit 0

# By rename: a conmon that runs keeps the file that it was started from.
if ! cmp -s build/meson/conmon build/conmon; then
    cp build/meson/conmon build/conmon.new
    # Pages of a file that are not on the disk yet count as the memory of who has them mapped.
    sync build/conmon.new
    mv -f build/conmon.new build/conmon
    echo "built build/conmon ($(build/conmon --version | head -n 1), $(wc -c <build/conmon) bytes)"
else
    echo 'build/conmon is up to date'
fi
