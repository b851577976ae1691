"""Libraries that confirm: loaded when a number of their shape is first met, and missed at once where they are not installed. Pure."""

import functools
import importlib
import importlib.util
from typing import Any

for _name in ("phonenumbers", "stdnum"):
    if importlib.util.find_spec(_name) is None:
        raise ModuleNotFoundError(f"No module named {_name!r}", name=_name)


@functools.cache
def library(name: str) -> Any:
    """Two MiB that most texts do not ask for."""
    return importlib.import_module(name)
