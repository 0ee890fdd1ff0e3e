#!/bin/sh
# Install what the distribution must provide: deps.sh build|test|demo|fuzz|system|machine|arm64
# Exit status 3: something is missing, and this is not root; the command is printed.
# shellcheck disable=SC2046,SC2086 # lists of words are meant to be split
set -eu

what=${1:-build}
case $what in
    build | demo | test | fuzz | system | machine | arm64) ;;
    *)
        echo "There is no set '$what': only build, demo, test, fuzz, system, machine and arm64." >&2
        exit 2
        ;;
esac

# The packages of a set, and the set that it needs besides.
packages_apt() {
    case $1 in
        build) echo gcc libc6-dev make git $(python_apt) ;;
        demo) packages_apt build && echo crun busybox-static util-linux ;;
        test)
            packages_apt demo
            echo conmon podman runc socat catatonit jq uidmap strace binutils passwd
            echo procps systemd tmux zsh fish
            # for cgroup v2; it is there for some processors only
            if has_apt user-mode-linux; then echo user-mode-linux; fi
            ;;
        fuzz) packages_apt build && echo $(clang_apt) ;;
        system) echo mmdebstrap debian-archive-keyring util-linux ;;
        machine) echo qemu-system-x86 e2fsprogs ;;
        arm64)
            packages_apt build && packages_apt system
            echo arch-test binfmt-support gcc-aarch64-linux-gnu qemu-system-arm e2fsprogs
            if has_apt qemu-user-static; then echo qemu-user-static; else echo qemu-user-binfmt; fi
            ;;
    esac
}

has_apt() { apt-cache policy "$1" 2>/dev/null | grep -q '^ *Candidate: [^(]'; }

# libFuzzer is in a package that is named after clang's version.
clang_apt() {
    echo clang "libclang-rt-$(apt-cache depends clang 2>/dev/null |
        sed -n 's/^ *Depends: clang-\([0-9]*\)$/\1/p')-dev"
}

# Where python3 is too old, a release of the distribution may have a newer one beside it.
python_apt() {
    case $(apt-cache policy python3 2>/dev/null | sed -n 's/^ *Candidate: *//p') in
        3.[0-9].* | 3.10.*) python=python3.11 ;;
        *) python=python3 ;;
    esac
    echo "$python" "$python-dev" "$python-venv"
}

packages_dnf() {
    case $1 in
        build) echo gcc glibc-devel make git-core python3 python3-devel ;;
        demo) packages_dnf build && echo crun busybox util-linux ;;
        test)
            packages_dnf demo
            echo conmon podman runc socat catatonit jq shadow-utils strace binutils
            echo procps-ng systemd /usr/bin/script tmux zsh fish
            ;;
        fuzz) packages_dnf build && echo clang compiler-rt ;;
        system) echo mmdebstrap debian-keyring util-linux ;;
        machine) echo qemu-system-x86-core e2fsprogs ;;
    esac
}

packages_apk() {
    case $1 in
        build) echo gcc musl-dev make git python3 python3-dev ;;
        demo) packages_apk build && echo crun busybox-static util-linux ;;
        test)
            packages_apk demo
            echo conmon podman runc socat catatonit jq shadow shadow-uidmap strace binutils
            echo procps bash tmux zsh fish # there is no journald
            ;;
        fuzz) packages_apk build && echo clang compiler-rt ;;
        system) echo mmdebstrap debian-archive-keyring util-linux ;;
        machine) echo qemu-system-x86_64 e2fsprogs ;;
    esac
}

installed_apt() { dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'; }
installed_dnf() { rpm -q --whatprovides "$1" >/dev/null 2>&1; }
installed_apk() { apk info -e "$1" >/dev/null 2>&1; }

if command -v apt-get >/dev/null; then
    manager=apt
    update='apt-get -qq update'
    install='env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install'
elif command -v dnf >/dev/null; then
    manager=dnf
    update=''
    install='dnf -q -y --setopt=install_weak_deps=False install'
elif command -v apk >/dev/null; then
    manager=apk
    update='apk -q update'
    install='apk -q add'
else
    echo 'Neither apt-get, dnf nor apk is here. These packages of Debian are needed,' >&2
    echo "or what they are called elsewhere: $(packages_apt "$what" 2>/dev/null | xargs)" >&2
    exit 1
fi

if [ "$what" = arm64 ] && [ "$manager" != apt ]; then
    echo 'For arm64 conmon is built on Debian and what is made of it only.' >&2
    exit 1
fi

# What is not installed yet, as a list in $missing.
find_missing() {
    missing=''
    for package in $("packages_$manager" "$what"); do
        "installed_$manager" "$package" || missing="$missing $package"
    done
}

run() {
    "$@" >"$log" 2>&1 </dev/null || {
        cat "$log" >&2
        exit 1
    }
}

find_missing
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "Packages are missing. As root: ${update:+$update && }$install$missing" >&2
    exit 3
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
[ -z "$update" ] || run $update
find_missing # with the package lists of today
echo "installing$missing"
run $install $missing
