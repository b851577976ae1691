"""What rows name: the rows of a regime, the tags in them, the members of a group."""

from collections.abc import Sequence

from tests.oracle.tables import Row, Tables, words


def members(tables: Tables, word: str) -> list[str]:
    """The ids that a word of `to` or of a region stands for; `*` stands for none in particular."""
    if word.startswith("group:"):
        return [row["member"] for row in tables.of("groups", "group", word.removeprefix("group:")) if row["member"]]
    return [] if word == "*" else [word]


def named_by(tables: Tables, regimes: Sequence[str]) -> list[Row]:
    """All rows of these regimes that are about transfers and storage."""
    return [
        row
        for regime in regimes
        for file, column in (
            ("edges", "from"),
            ("gateways", "from"),
            ("denies", "from"),
            ("storage", "jurisdiction"),
            ("thresholds", "jurisdiction"),
            ("obligations", "jurisdiction"),
            ("special_categories", "jurisdiction"),
            ("jurisdictions", "id"),
        )
        for row in tables.of(file, column, regime)
    ]


def tags_of(tables: Tables, rows: list[Row]) -> list[str]:
    """The tags that rows name (those of storage, denies and permissions most often), and the wider ones that may be these."""
    named = [
        word
        for row in rows
        for column in ("tag", "tags_only", "tags_except")
        for word in words(row.get(column, ""))
        if word != "*"
    ]
    strong = [
        word
        for row in rows
        for column in ("rule", "tags_only", "tags_except")
        if row.get(column)
        for word in words(row.get("tag", row[column]))
    ]
    wider = [row["tag"] for row in tables.rows["tags"] if set(words(row["may_be"])) & set(named)]
    return [word for word in (*named, *strong * 3, *wider) if word != "*"]
