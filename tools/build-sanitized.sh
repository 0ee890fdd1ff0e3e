#!/bin/sh
# Build conmon and the package for tests with AddressSanitizer and UBSan: build/sanitized.
# After tools/build.sh, whose tools are used. What they find is written to build/sanitized/reports.
set -eu
cd "$(dirname "$0")/.."
top=$PWD
PATH=$top/build/venv/bin:$PATH

# ASan wants an ordinary libc, so there is no image. Of what Python's own objects do nothing is seen.
# Without clone: so the contract's tests run with a fork in its place, too.
key=$(cat build/venv/made-by tools/build-sanitized.sh)
if [ "$(cat build/sanitized/configured-for 2>/dev/null)" != "$key" ]; then
    rm -rf build/sanitized
    echo 'configuring build/sanitized'
    meson setup -Dstatic_libc=false -Dimage=disabled -Dclone=false -Db_sanitize=address,undefined \
        -Db_lundef=false -Doptimization=1 -Ddebug=true \
        -Dc_args=-fsanitize-undefined-trap-on-error \
        -Dpython.platlibdir=/stage -Dpython.bytecompile=-1 \
        build/sanitized >build/sanitized.log 2>&1 || {
        cat build/sanitized.log >&2
        exit 1
    }
    echo "$key" >build/sanitized/configured-for
fi
ninja -C build/sanitized --quiet >build/sanitized.log 2>&1 || {
    cat build/sanitized.log >&2
    exit 1
}
rm -rf build/sanitized/stage build/sanitized/reports
mkdir -m 1777 build/sanitized/reports
DESTDIR=$top/build/sanitized meson install -C build/sanitized --no-rebuild --quiet \
    --tags python-runtime
