"""Tests that need a whole machine: systemd as the first process, cgroup v2, and a reboot."""
