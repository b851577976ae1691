"""The form of a fenced statement. Pure text; docs/decisions/0004-fence.md says what was tried and what lets late writes through.

Parameters: $1 subject id, $2 epoch of the decision; the statement inside uses $3 and on. READ COMMITTED is a condition: a statement
that waited for a cut sees the raised row when it goes on.
"""

from collections.abc import Sequence

HELD = """h AS MATERIALIZED (
  SELECT 1 AS held FROM domicile.home AS f
  WHERE f.subject_id = $1::uuid AND f.epoch = $2::bigint AND f.state = 'active'
    AND NOT EXISTS (SELECT 1 FROM domicile.closing AS c WHERE c.subject_id = $1::uuid)
  FOR SHARE OF f)"""
"""The share lock on the subject's fence row, one row when it stands as decided. Every write must take rows FROM h."""


def fenced_write(write: str | Sequence[str], returned: str) -> str:
    """One statement that writes under the fence: `write` takes its rows FROM h and ends in RETURNING, `returned` is made of `_w`.

    Several writes, each FROM h, give back rows of one form. Answers at least one row (held boolean, "row" text): not held means nothing
    was written; held with a null row means nothing matched.
    """
    writes = [write] if isinstance(write, str) else write
    named = ",\n".join(f"_w{number} AS (\n{one}\n)" for number, one in enumerate(writes))
    together = " UNION ALL ".join(f"SELECT * FROM _w{number}" for number in range(len(writes)))  # noqa: S608 - names of ours
    written = f"_w AS (\n{writes[0]}\n)" if len(writes) == 1 else f"{named},\n_w AS ({together})"
    return (
        f"WITH {HELD},\n{written}\n"  # noqa: S608 - writes are built from contracts' identifiers and parameters
        f"SELECT EXISTS (SELECT 1 FROM h) AS held, {returned} AS row FROM (VALUES (1)) AS _v LEFT JOIN _w ON true"
    )


def fenced_read(select: str, returned: str) -> str:
    """One statement that reads under the fence, in one snapshot and without a lock. `select` reads a live view.

    Answers at least one row (epoch, state, "row" text): the fence as that snapshot has it, null when there is none.
    """
    return (
        f"SELECT f.epoch, f.state, {returned} AS row FROM (VALUES (1)) AS _v\n"  # noqa: S608 - as above
        "LEFT JOIN domicile.home AS f ON f.subject_id = $1::uuid\n"
        f"LEFT JOIN LATERAL (\n{select}\n) AS _w ON f.epoch = $2::bigint AND f.state IN ('active', 'frozen')"
    )
