#!/bin/sh
# Build conmon in the system arm64, in its copy of this tree (in-system.sh), with this machine's Cython
# and a cross compiler: by qemu-user Cython takes minutes for one file. qemu-user runs what is of that
# system, its Python and the linked conmon, which makes the image of its interpreter.
set -eu
cd "$(dirname "$0")/../build/systems/arm64"
folder=$PWD
cd src
mkdir -p build
# -B: its libc comes before one that the cross compiler may have with it.
cat >build/arm64.ini <<END
[binaries]
c = ['aarch64-linux-gnu-gcc', '--sysroot=$folder', '-B', '$folder/usr/lib/aarch64-linux-gnu']
objcopy = 'aarch64-linux-gnu-objcopy'
python = '$folder/usr/bin/python3'

[properties]
sys_root = '$folder'
needs_exe_wrapper = false

[host_machine]
system = 'linux'
cpu_family = 'aarch64'
cpu = 'aarch64'
endian = 'little'
END
export QEMU_LD_PREFIX="$folder" VENV=build/venv-cross
exec tools/build.sh --cross-file build/arm64.ini
