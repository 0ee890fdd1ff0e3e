"""Where OCI runtimes are, and where they keep their state."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

#: Files that engines execute. The same runtime may have several names: the file is what counts.
PATHS = (
    "/usr/bin/runc",
    "/usr/sbin/runc",
    "/usr/local/bin/runc",
    "/usr/local/sbin/runc",
    "/usr/bin/crun",
    "/usr/local/bin/crun",
    "/usr/bin/youki",
    "/usr/local/bin/youki",
    "/usr/lib/cri-o-runc/sbin/runc",
    "/usr/libexec/crio/runc",
    "/usr/libexec/crio/crun",
    "/var/lib/rancher/k3s/data/current/bin/runc",
    "/var/lib/rancher/rke2/bin/runc",
    "/var/lib/k0s/bin/runc",
    "/snap/microk8s/current/bin/runc",
    "/x86_64-bottlerocket-linux-gnu/sys-root/usr/bin/runc",
    "/aarch64-bottlerocket-linux-gnu/sys-root/usr/bin/runc",
)

_RUNTIMES = ("runc", "crun", "youki")


def host_root(environ: Mapping[str, str] = os.environ) -> str:
    """Where the host's root directory is: HOST_ROOT, or ours."""
    return os.path.normpath(environ.get("HOST_ROOT") or "/")


def runtime_paths(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The files to watch, on the host: those of RUNTIME_PATH, a list as of PATH, or PATHS."""
    given = environ.get("RUNTIME_PATH", "")
    return [path for path in given.split(os.pathsep) if path] or list(PATHS)


def state_roots(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Directories of the host in which the engines' runtimes may keep their state.

    Those of other users are listed for root only.
    """
    runtime_dirs = [environ.get("XDG_RUNTIME_DIR", "")]
    fixed: list[str] = []
    if os.geteuid() == 0:
        fixed = [
            "/run/containerd/runc/default",
            "/run/containerd/runc/k8s.io",
            "/run/docker/runtime-runc/moby",
            "/run/docker/runtime-runc/plugins.moby",
        ]
        users = _names(os.path.join(host_root(environ), "run/user"))
        runtime_dirs += ["/run", *(f"/run/user/{name}" for name in users)]
    else:
        runtime_dirs.append(f"/run/user/{os.geteuid()}")
    roots = [f"{place}/{name}" for place in runtime_dirs if place for name in _RUNTIMES]
    return list(dict.fromkeys(roots + fixed))


def _names(directory: str) -> Sequence[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return ()
