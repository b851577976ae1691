"""The outbox's table as its owners' migrations make it, in any schema."""

import re
from pathlib import Path

import directory

_MIGRATION = Path(directory.__file__).parent / "migrations" / "0001_directory.sql"


def outbox_table(schema: str) -> str:
    """A statement that creates it."""
    found = re.search(r"CREATE TABLE directory\.(outbox \(.*?\n\));", _MIGRATION.read_text(), re.DOTALL)
    assert found is not None
    return f"CREATE TABLE {schema}.{found[1]}"
