"""What mypyc compiles, as pyproject.toml lists it, and in which form this run has to find it."""

import os
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOOK = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"][
    "custom"
]
LISTED = tuple(sorted(file.removesuffix(".py").replace("/", ".") for file in HOOK["modules"]))
COMPILED = LISTED if os.environ.get("TESTED_FORM") == "compiled" else ()
"""Names of the modules that run compiled: in `make test-compiled` those that are listed, else none."""
