"""Integration tests: a real podman, with crun and runc, as root and rootless."""
