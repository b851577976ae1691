"""Which of our modules this process runs as mypyc compiled them, and which the interpreter runs (docs/decisions/0022-compiled.md)."""

import sys
from importlib.machinery import ExtensionFileLoader

OURS = ("cells.", "deploy.", "directory.", "foundation.", "gateway.", "load_tests.", "routing_rules.")


def compiled() -> tuple[str, ...]:
    """Names of those loaded so far that came from extension files, in order. None: the interpreter runs them all."""
    ours = [(name, module.__spec__) for name, module in [*sys.modules.items()] if name.startswith(OURS)]
    return tuple(sorted(name for name, spec in ours if spec and isinstance(spec.loader, ExtensionFileLoader)))


def form() -> str:
    """The same in words."""
    count = len(compiled())
    return f"{count} modules compiled" if count else "interpreted"
