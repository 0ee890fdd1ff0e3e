"""Freeze Python modules into a C header: freeze.py OUTPUT MODULE=PATH...

The header defines `conmon_frozen_modules`, a table for PyImport_FrozenModules, with the
marshalled code of every module, compiled without docstrings and assertions. It must be made by
the same Python version as the libpython that will be linked, and depends on nothing but the
sources: file names in tracebacks are `<conmon.module>`.
"""

from __future__ import annotations

import marshal
import sys
from pathlib import Path


def main(output: str, *modules: str) -> None:
    arrays = []
    rows = []
    for number, module in enumerate(modules):
        name, _, path = module.partition("=")
        code = compile(Path(path).read_bytes(), f"<{name}>", "exec", dont_inherit=True, optimize=2)
        data = marshal.dumps(code)
        bytes_ = ",".join(map(str, data))
        arrays.append(f"static const unsigned char frozen_{number}[] = {{{bytes_}}};\n")
        is_package = int(Path(path).name == "__init__.py")
        rows.append(
            f'    {{.name = "{name}", .code = frozen_{number},'
            f" .size = sizeof(frozen_{number}), .is_package = {is_package}}},\n"
        )
    table = "static const struct _frozen conmon_frozen_modules[] = {\n"
    Path(output).write_text("".join([*arrays, table, *rows, "    {0},\n};\n"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
