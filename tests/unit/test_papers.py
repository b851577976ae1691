"""The papers point at what there is, and their index names them all."""

import re
from pathlib import Path

import pytest

from gateway.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
PAPERS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
SOURCE = re.compile(r"`((?:cells|deploy|directory|docs|foundation|gateway|load_tests|routing_rules|tests)/[\w./-]+)`")


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_files_that_a_paper_names_exist(paper: Path) -> None:
    text = paper.read_text(encoding="utf-8")
    links = [paper.parent / link for link in LINK.findall(text) if "://" not in link]
    missing = [path for path in (*links, *(ROOT / name for name in SOURCE.findall(text))) if not path.exists()]
    assert missing == []


def test_the_index_names_every_paper() -> None:
    index = ROOT / "docs" / "README.md"
    named = {(index.parent / link).resolve() for link in LINK.findall(index.read_text(encoding="utf-8"))}
    assert set((ROOT / "docs").rglob("*.md")) - {index} <= named


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_targets_that_a_paper_names_exist(paper: Path) -> None:
    text = paper.read_text(encoding="utf-8")
    commands = set(re.findall(r"(?:`|\$ )domicile ([a-z]+)", text))
    assert commands <= set(COMMANDS)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:`|\$ )make ([a-z-]+)", text)) <= targets
