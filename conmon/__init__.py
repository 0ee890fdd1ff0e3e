"""conmon: the monitor that a container manager starts beside every container."""

import sys

if "conmon._fastio" in sys.builtin_module_names:
    # In the ELF. Python before 3.11.4 looks for no built-in module inside a package.
    import _frozen_importlib as _importlib

    _spec = _importlib.ModuleSpec("conmon._fastio", None, origin="built-in")
    _spec.loader = _importlib.BuiltinImporter  # type: ignore[assignment]
    globals()["_fastio"] = _importlib._load(_spec)  # type: ignore[attr-defined]
