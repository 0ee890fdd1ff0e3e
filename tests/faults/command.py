"""The command line: list the calls of a session, make one try, or all of them."""

from __future__ import annotations

import argparse
import json
import random
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness import conmon_version

from faults import sessions
from faults.attempt import attempt
from faults.campaign import Campaign, Result, at_once, run, say_on_stderr
from faults.tracer import TERM, Fault
from faults.verdict import GOOD, judge


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m faults",
        description="Let each system call of a conmon's session go wrong, one at a time.",
    )
    add = parser.add_argument
    add("--conmon", type=Path, action="append", help="a conmon; several times: one after another")
    add("--session", action="append", choices=sessions.ALL, help="only these sessions")
    add("--process", help='of one try: "0" was started, "0.1" is its first child')
    add("--call", help="of one try: name of the system call")
    add("--occurrence", type=int, help="of one try: counted per process, from 1")
    add("--errno", help="of one try, or of all: ENOSPC ..., delay or SIGTERM")
    add("--list", action="store_true", help="only list the calls of the sessions")
    add("--json", type=Path, help="write all results there")
    add("--part", help="K/N: the tries whose hash is K modulo N")
    add("--no-delays", action="store_true", help="errors only, no delays and signals")
    add("--seconds", type=float, default=0, help="begin no more tries after so long")
    add("--workers", type=int, default=at_once(), help="tries at once")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    options = _arguments(argv)
    options.conmon = [path.resolve() for path in options.conmon or [Path("build/conmon")]]
    options.session = options.session or list(sessions.ALL)
    if options.list:
        return list_calls(options)
    if options.call:
        return one(options)
    return everything(options)


def list_calls(options: argparse.Namespace) -> int:
    for name in options.session:
        for each in attempt(options.conmon[0], name, None).seen:
            print(name, each["process"], each["key"], each["occurrence"], each["about"])
    return 0


def one(options: argparse.Namespace) -> int:
    fault = Fault(options.process, options.call, options.occurrence, options.errno)
    name = options.session[0]
    usual = attempt(options.conmon[0], name, None)
    facts = attempt(options.conmon[0], name, fault, usual.fds)
    row, words = judge(facts, sessions.ALL[name].promise, usual, fault.error == TERM)
    facts.seen = []
    print(json.dumps(asdict(facts), indent=1))
    print(f"{row}: {words}" if facts.hit else f"not reached; {row}: {words}")
    return int(row not in GOOD)


def everything(options: argparse.Namespace) -> int:
    runs = [_one_conmon(path, options) for path in options.conmon]
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"date": _now(), "runs": runs}, indent=1))
    from faults.page import table

    print(table(runs))
    for each in runs[0]["results"]:
        if each["row"] not in (*GOOD, "not reached"):
            print(f"{each['row']}: python -m faults {each['command']}\n    {each['words']}")
    return 0


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())


def _one_conmon(conmon: Path, options: argparse.Namespace) -> dict[str, Any]:
    begin = time.monotonic()
    campaign = Campaign(conmon, options.session, not options.no_delays)
    tasks = campaign.list_tries()
    if options.errno:
        tasks = [task for task in tasks if task.fault.error == options.errno]
    if options.part:
        part, _, parts = options.part.partition("/")
        tasks = [task for task in tasks if task.part(int(parts)) == int(part)]
    random.Random(1).shuffle(tasks)  # so that what is slow does not come at once
    say_on_stderr(f"{conmon}: {len(tasks)} tries")
    for name, why in campaign.unfit.items():
        say_on_stderr(f"{conmon}: not tried: {name}: {why}")
    if campaign.unknown:
        say_on_stderr(f"not in errnos.toml: {sorted(campaign.unknown)}")
    results = run(campaign, tasks, options.seconds, options.workers, say_on_stderr)
    return {
        "conmon": str(conmon),
        "version": ".".join(map(str, conmon_version(conmon))),
        "seconds": round(time.monotonic() - begin),
        "sessions": options.session,
        "unfit": campaign.unfit,
        "unknown": sorted(campaign.unknown),
        "planned": len(tasks),
        "results": [asdict(each) for each in sorted(results, key=_order)],
    }


def _order(result: Result) -> tuple[str, str, str, str, int, str]:
    each = result
    return each.row, each.session, each.process, each.call, each.occurrence, each.error
