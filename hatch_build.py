"""How a wheel is built whose hot modules are compiled by mypyc (docs/decisions/0022-compiled.md): a build hook of hatchling.

It runs under HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 alone; pyproject.toml lists the modules. `python hatch_build.py` tells whether they can be
compiled here.
"""

import contextlib
import importlib.metadata
import importlib.util
import os
import shlex
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.builders.wheel import WheelBuilderConfig

GROUP = "domicile"
"""The shared library that holds all of them, `domicile__mypyc`; each module's own extension file only asks it for its module."""


class NotCompiled(Exception):
    """The message says why, and what to do."""


def lacking() -> str | None:
    """What has to be installed before anything can be compiled here; None: nothing."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        return (
            f"no C compiler ({compiler}): install gcc (on Debian and Ubuntu the package gcc), or name another one in CC"
        )
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.is_file():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return f"no {header}: install what this Python's extensions are built from (on Debian and Ubuntu the package python{version}-dev)"
    for module in ("mypyc", "setuptools"):
        if importlib.util.find_spec(module) is None:
            return f"no {module}: build with --no-build-isolation in an environment of requirements-dev.lock, as `make compiled` does"
    return None


def extensions(root: Path, modules: Sequence[str], folder: Path) -> Path:
    """Where below `folder` the extension files of `modules`, files below `root`, lie as in a wheel. What mypy says against one ends the
    process, what the C compiler does is raised."""
    from setuptools import Distribution  # noqa: I001 - before mypyc, which takes what it finds: setuptools or distutils
    from setuptools.command.build_ext import build_ext
    from mypyc.build import mypycify

    with contextlib.chdir(root):  # where mypy finds its settings and the packages
        command = build_ext(
            Distribution(
                {
                    "name": GROUP,
                    "ext_modules": mypycify(
                        [*modules], opt_level="3", debug_level="0", group_name=GROUP, target_dir=str(folder / "c")
                    ),
                }
            )
        )
        command.build_lib, command.build_temp = str(folder / "lib"), str(folder / "made")
        command.ensure_finalized()
        command.run()
    return folder / "lib"


def _licence() -> Path:
    """Of mypy and mypyc. Raises StopIteration where their installation has none."""
    files = importlib.metadata.files("mypy") or ()
    return next(Path(str(file.locate())) for file in files if file.match("*.dist-info/licenses/LICENSE"))


class Compiling(BuildHookInterface[WheelBuilderConfig]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Raises NotCompiled."""
        if version == "editable":
            raise NotCompiled("an editable install runs the checkout's sources: build a wheel and install that")
        if why := lacking():
            raise NotCompiled(why)
        self._folder = tempfile.TemporaryDirectory(prefix="domicile-compiled-")
        built = extensions(Path(self.root), self.config["modules"], Path(self._folder.name))
        for file in built.rglob("*.so"):
            build_data["force_include"][str(file)] = str(file.relative_to(built))
        build_data["extra_metadata"][str(_licence())] = "mypyc/LICENSE"  # of what of mypyc's runtime is compiled in
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, *_: object) -> None:
        self._folder.cleanup()


if __name__ == "__main__":
    sys.exit(lacking())
