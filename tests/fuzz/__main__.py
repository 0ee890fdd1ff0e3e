"""`make fuzz`: run the targets, as many at once as there are processors.

Exit status 1: something was found. It and the inputs that led there are named.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor

from fuzz import targets


def show(outcome: targets.Outcome, seconds: int) -> None:
    print(
        f"{outcome.name:10} {outcome.executions:12,} executions in {seconds} s, "
        f"{outcome.branches:5} branches, {'FOUND' if outcome.status else 'nothing found'}",
        flush=True,
    )
    if outcome.status:
        print(outcome.finding(), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(targets.NAMES)}; all")
    parser.add_argument("--seconds", type=int, default=600, help="for each (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="at once (%(default)s)")
    parser.add_argument("--minimise", action="store_true", help="then renew the corpus")
    options = parser.parse_args()
    names = options.names or targets.NAMES
    found = False
    with ThreadPoolExecutor(options.jobs) as pool:
        for outcome in pool.map(lambda name: targets.fuzz(name, options.seconds), names):
            show(outcome, options.seconds)
            found = found or outcome.status != 0
    if options.minimise and not found:
        for name in names:
            print(f"{name:10} {targets.minimise(name)} inputs kept", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
