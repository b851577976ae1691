"""SVG as PNG, by a browser without a window where one is installed, so that both are one drawing.

A library would have to be locked for every Python and machine to make a file that only readers of a page without SVG need; a browser is
asked for nothing but this, and where there is none the PNG is left out and said so.
"""

import os
import re
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
DRAW_S_MAX = 60.0
_SIZE = re.compile(r'<svg [^>]*\bwidth="(\d+)" height="(\d+)"')
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class NotDrawn(Exception):
    """No PNG was made; the message says why."""


def browser() -> str | None:
    """The first of BROWSERS on PATH."""
    return next((found for found in map(shutil.which, BROWSERS) if found is not None), None)


def draw(svg: Path, *, program: str | None = None) -> Path:
    """Beside `svg`, in its name, as large as it states itself to be in pixels. Raises NotDrawn."""
    program = program or browser()
    if program is None:
        raise NotDrawn(f"none of {', '.join(BROWSERS)} is installed")
    stated = _SIZE.search(svg.read_text(encoding="utf-8"))
    if stated is None:
        raise NotDrawn(f"{svg.name} does not state its size")
    width, height = int(stated[1]), int(stated[2])
    png = svg.with_suffix(".png")
    with tempfile.TemporaryDirectory() as profile:
        drawn = Path(profile) / "drawn.png"
        words = _words(program, svg.resolve(), drawn, Path(profile), width, height)
        try:
            ended = subprocess.run(words, check=False, capture_output=True, timeout=DRAW_S_MAX)  # noqa: S603 - our words
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise NotDrawn(f"{Path(program).name}: {type(exc).__name__}") from exc
        found = drawn.read_bytes() if drawn.exists() else b""
    if ended.returncode != 0 or size_of(found) != (width, height):
        raise NotDrawn(f"{Path(program).name} ended with {ended.returncode} and no picture of {width} x {height}")
    png.write_bytes(found)
    return png


def size_of(png: bytes) -> tuple[int, int] | None:
    """Width and height as its header states them; None of anything but a PNG. Pure."""
    if not png.startswith(_SIGNATURE) or png[12:16] != b"IHDR" or len(png) < 24:
        return None
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def _words(program: str, svg: Path, drawn: Path, profile: Path, width: int, height: int) -> list[str]:
    return [
        program,
        "--headless",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
        "--hide-scrollbars",
        "--force-device-scale-factor=1",
        *(
            ["--no-sandbox"] if os.geteuid() == 0 else []
        ),  # it refuses to run as root with one, and sees our own file only
        f"--user-data-dir={profile / 'profile'}",
        f"--window-size={width},{height}",
        f"--screenshot={drawn}",
        svg.as_uri(),
    ]
