"""Scenarios of logs: drivers, limits, reopening."""

from __future__ import annotations

from differential.stage import Scenario, Stage

SCENARIOS: list[Scenario] = []


def logs_to(name: str, what: str, *paths: str, command: str = "echo out; echo err >&2") -> None:
    """A container with these values of --log-path; ROOT stands for the test's directory."""

    def play(stage: Stage) -> None:
        container = stage.container
        root = str(container.root)
        container.options["-l"] = [path.replace("ROOT", root) for path in paths]
        container.command(command)
        stage.launch(cwd=container.root / "logs")
        stage.finish()

    SCENARIOS.append(Scenario(name, what, play))


logs_to("log to nowhere", "The driver none.", "none")
logs_to("log off", "The driver off.", "off")
logs_to("log path alone", "A path without a driver's name.", "ROOT/logs/ctr.log")
logs_to("log path relative", "A path that is relative to conmon's directory.", "here.log")
logs_to("log with a colon before", "A path after a colon only.", ":ROOT/logs/ctr.log")
logs_to("log path with a colon", "A path with a colon in it.", "k8s-file:ROOT/logs/a:b.log")
logs_to("two log files", "Two files: one of them is used.", "ROOT/logs/a.log", "ROOT/logs/b.log")
logs_to("log file and none", "A file, and the driver none.", "ROOT/logs/ctr.log", "none")
logs_to("none and log file", "The driver none, and a file.", "none", "ROOT/logs/ctr.log")


def limited(name: str, what: str, command: str, *options: str, before: bytes = b"") -> None:
    """A container with limits on its log."""

    def play(stage: Stage) -> None:
        container = stage.container
        if before:
            container.log.write_bytes(before)
        container.command(command)
        stage.launch(*options)
        stage.finish()

    SCENARIOS.append(Scenario(name, what, play))


TEN = "for i in 0 1 2 3 4 5 6 7 8 9; do echo line$i; done"
OLD = b"2026-08-01T12:00:00.123456789+00:00 stdout F old\n"
limited("log appended to", "A log that is there already is gone on in.", "echo new", before=OLD)
limited("size limit", "At most 110 bytes, in records of 51.", TEN, "--log-size-max", "110")
limited("size limit of 0", "A limit of 0 is none.", TEN, "--log-size-max", "0")
limited(
    "record over the limit", "A record that is longer than the limit.", "echo " + 300 * "x",
    *("--log-size-max", "110"),
)  # fmt: skip
limited(
    "size limit and an old log", "What is there already counts.", TEN,
    *("--log-size-max", "140"), before=OLD,
)  # fmt: skip
limited("global limit", "Logging ends after 110 bytes.", TEN, "--log-global-size-max", "110")
limited(
    "global limit and an old log", "What is there already counts.", TEN,
    *("--log-global-size-max", "120"), before=OLD,
)  # fmt: skip


def reopened(moved: bool) -> None:
    """A request on ctl to reopen the log."""

    def play(stage: Stage) -> None:
        container = stage.container
        container.fifo("go")
        container.command("echo one; read -r _ <go; echo two")
        stage.launch()
        stage.message()
        container.wait_log(b" F one\n")
        if moved:
            container.log.rename(container.log.with_name("moved.log"))
        seen = len(container.events)
        (container.bundle / "ctl").write_text("2 0 0\n")
        # CRI-O waits for one of these
        container.wait_until(
            lambda: any(
                event.directory == "logs"
                and event.name == "ctr.log"
                and event.what in ("CREATE", "MODIFY", "MOVED_TO")
                for event in container.events[seen:]
            ),
            "the log to be made or changed",
        )
        stage.open("go")
        stage.finish()

    what = "after the log was moved away" if moved else "with the log in its place"
    name = "reopen a moved log" if moved else "reopen in place"
    SCENARIOS.append(Scenario(name, f"Reopening, {what}.", play))


reopened(moved=True)
reopened(moved=False)
