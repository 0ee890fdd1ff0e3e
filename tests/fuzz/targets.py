"""The fuzz targets: what there is, how one is built and run (docs/reliability.md).

A target is a .pyx file here that cimports parsers of the core and defines libFuzzer's entry
point. `__wrap_NAME` in it stands for the function NAME of libc.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
BUILD = TOP / "build" / "fuzz"
NAMES = tuple(sorted(path.stem for path in HERE.glob("*.pyx")))
CYTHON = ("cython", "-3", "-Xcdivision=True", "-Xboundscheck=False", "-Xwraparound=False")
COMPILE = (
    "-g", "-O1", "-w", "-D_GNU_SOURCE", "-ffunction-sections", "-fdata-sections", "-fno-pie",
    "-fno-omit-frame-pointer",
)  # fmt: skip
SANITIZE = ("-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all")
# Nothing of Python is called, as in the monitor; what refers to it need not be found.
LINK = ("-no-pie", "-Wl,--gc-sections", "-Wl,--unresolved-symbols=ignore-all")
# pyconfig.h asks glibc for the functions of large files
LARGE_FILE = ("open", "pread")
LIBFUZZER = (
    "-max_len=4096", "-timeout=60", "-rss_limit_mb=1024", "-print_final_stats=1",
)  # fmt: skip
# Freed memory is watched for a while, but a run of hours is not to fill the machine with it.
ASAN = "quarantine_size_mb=16:abort_on_error=0"


@dataclass
class Outcome:
    """What a run of a target came to."""

    name: str
    status: int
    executions: int
    branches: int  # that were reached, of those that the compiler counts
    log: str

    def finding(self) -> str:
        """What libFuzzer says of what it found; the empty string where it found nothing."""
        if self.status == 0:
            return ""
        at = [
            self.log.find(word)
            for word in ("broken:", "ERROR:", "runtime error:")
            if word in self.log
        ]
        return self.log[min(at, default=-4000) :][:4000]


@cache
def compiler() -> str | None:
    """A clang that has libFuzzer; None if there is none."""
    found = [Path(directory).glob("clang-[0-9]*") for directory in os.get_exec_path()]
    versions = [path.name for paths in found for path in paths if path.name[6:].isdigit()]
    versions.sort(key=lambda name: int(name[6:]), reverse=True)
    for name in ["clang", *versions]:
        if shutil.which(name) and _has_libfuzzer(name):
            return name
    return None


def _has_libfuzzer(name: str) -> bool:
    program = b"int LLVMFuzzerTestOneInput(const char *data, unsigned long size) { return 0; }"
    argv = [name, *SANITIZE, "-xc", "-", "-o", "/dev/null"]
    return subprocess.run(argv, input=program, capture_output=True, check=False).returncode == 0


def _run(*argv: str | Path) -> None:
    done = subprocess.run(argv, cwd=TOP, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv))}\n{done.stdout}{done.stderr}")


def _wraps(source: Path) -> list[str]:
    """The linker's options for the functions of libc that a target stands in for."""
    names = sorted(set(re.findall(r"__wrap_(\w+)", source.read_text())))
    options = [f"-Wl,--wrap={name}" for name in names]
    for name in set(LARGE_FILE) & set(names):
        options += [f"-Wl,--wrap={name}64", f"-Wl,--defsym=__wrap_{name}64=__wrap_{name}"]
    return options


def build(name: str) -> Path:
    """The program of a target, built where a source is newer. RuntimeError if that fails."""
    program = BUILD / name
    source = HERE / f"{name}.pyx"
    sources = [source, Path(__file__), *HERE.glob("*.pxd"), *TOP.glob("conmon/core/*.pxd")]
    newest = max(path.stat().st_mtime for path in sources)
    if program.is_file() and program.stat().st_mtime > newest:
        return program
    clang = compiler()
    if clang is None:
        raise RuntimeError("There is no clang with libFuzzer: `make deps WHAT=fuzz` installs it.")
    BUILD.mkdir(parents=True, exist_ok=True)
    code = BUILD / f"{name}.c"
    include = sysconfig.get_path("include")
    _run(sys.executable, "-m", *CYTHON, f"-I{TOP}", f"-I{TOP / 'tests'}", source, "-o", code)
    _run(clang, *COMPILE, *SANITIZE, f"-I{include}", code, "-o", program, *LINK, *_wraps(source))
    return program


def corpora(name: str) -> list[Path]:
    """Where a target's inputs are: new ones, then those of the repository."""
    new = BUILD / "corpus" / name
    new.mkdir(parents=True, exist_ok=True)
    return [new, HERE / "corpus" / name]


def fuzz(name: str, seconds: int) -> Outcome:
    """Build a target and run it. What it finds is left in build/fuzz/findings."""
    program = build(name)
    findings = BUILD / "findings"
    findings.mkdir(exist_ok=True)
    options = [
        *LIBFUZZER,
        f"-max_total_time={seconds}",
        f"-artifact_prefix={findings}/{name}-",
    ]
    done = _execute([program, *options, *corpora(name)])
    (BUILD / f"{name}.log").write_text(done.stderr)
    executions = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    branches = re.findall(r"\bcov: (\d+)", done.stderr)
    return Outcome(
        name,
        done.returncode,
        int(executions[1]) if executions else 0,
        int(branches[-1]) if branches else 0,
        done.stderr,
    )


def minimise(name: str) -> int:
    """Make the repository's corpus as small as it can be with all that is known; its size."""
    program = build(name)
    smallest = BUILD / "smallest" / name
    shutil.rmtree(smallest, ignore_errors=True)
    smallest.mkdir(parents=True)
    done = _execute([program, "-merge=1", *LIBFUZZER, smallest, *corpora(name)])
    if done.returncode:
        raise RuntimeError(done.stderr)
    kept = HERE / "corpus" / name
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(smallest, kept)
    return len(list(kept.iterdir()))


def _execute(argv: list[str | Path]) -> subprocess.CompletedProcess[str]:
    # libFuzzer takes the largest memory that its process ever had for its own (ru_maxrss), and
    # exec(2) keeps that: of what started it, if not a shell forks in between.
    return subprocess.run(
        ["/bin/sh", "-c", '"$@"; exit', "sh", *argv],
        env={**os.environ, "ASAN_OPTIONS": ASAN},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
