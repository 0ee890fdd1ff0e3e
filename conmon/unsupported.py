"""Options that are accepted and do not work yet: conmon says so instead of keeping quiet."""

from conmon import cli, diag, logdrivers


def check(options: cli.Options, plan: logdrivers.LogPlan) -> None:
    """Warn of every option without function."""
    for used, name in (
        (plan.journald, b"the journald log driver"),
        (options.log_rotate, b"--log-rotate"),
        (bool(options.log_allowlist_dirs), b"--log-allowlist-dir"),
    ):
        if used:
            diag.warn(name + b" is not implemented yet and has no effect")
