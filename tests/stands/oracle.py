"""What no answer of the records API may be, whoever asked whatever: the judge of generated requests."""

import json
import re

from foundation.words import mint_subject_id
from tests.stands.records import RecordsStand
from tests.stands.shard import place, rows

STRANGERS = (
    "SELECT id::text, body, rank, shadow, card, extra::text FROM product.notes WHERE subject_id <> $1 ORDER BY rank"
)
OWN = "SELECT count(*), count(*) FILTER (WHERE shadow <> 'unseen'), count(*) FILTER (WHERE epoch IS NOT NULL) FROM product.notes"
OWN += " WHERE subject_id = $1"
REFUSALS = frozenset({400, 403, 404, 405, 406, 409, 413, 416})
BUSY = frozenset({503, 504})
"""What a machine with too much to do answers: a defined refusal, no fault."""
ANSWERS = frozenset({200, 201, 204, 206})
HIDDEN = ("another's", "hidden of another", "unseen")
"""In every row of the stranger's, and in the unclassified column of one's own."""
SQL = re.compile(
    r"SELECT |INSERT |UPDATE |WHERE|FROM |json_to_record|_w\b|_b\b|\$\d::|domicile\.|syntax error|product\."
)
"""Words of our statements; the grammar's own texts are in lower case or are never told again."""


async def strangers(live: RecordsStand) -> list[str]:
    """Another subject with rows that hold HIDDEN; answers its id and one of its rows'."""
    stranger = mint_subject_id()
    await place(live.shard, stranger, 1)
    theirs = await live.stored(
        *({"rank": n, "body": f"another's {n}", "extra": {"n": "another's"}, "card": "another's"} for n in range(3)),
        subject=stranger,
        epoch=1,
    )
    await rows(live.dsns, "UPDATE product.notes SET shadow = 'hidden of another' WHERE subject_id = $1", stranger)
    return [theirs[0]["id"], stranger]


async def refill(live: RecordsStand) -> None:
    """Gives the subject rows again where few are left."""
    held = (await rows(live.dsns, OWN, live.subject))[0][0]
    if held < 4:
        await rows(live.dsns, "DELETE FROM product.notes WHERE subject_id = $1", live.subject)
        await live.stored(
            *(
                {"rank": n, "body": f"one {n}", "extra": {"n": n, "a": [n]}, "span": f"[{n},{n + 2})", "card": "4111"}
                for n in range(6)
            )
        )


def leak(asked: str, status: int, text: str, headers: dict[str, str], *, refused: bool = False) -> str | None:
    """What is wrong with an answer, or None. `refused`: the request was for what no caller may touch."""
    if status not in REFUSALS | BUSY | ANSWERS:
        return f"status {status}"
    told = text + json.dumps(headers)
    if any(one in told and one not in asked for one in HIDDEN):
        return "a value that is not the caller's"
    if status in REFUSALS | BUSY:
        return _wrong_refusal(text, headers)
    if refused:
        return "success where a hidden or sealed column was compared"
    total = headers.get("content-range", "*/*").partition("/")[2]
    if total not in ("*", "") and int(total) > 5000:
        return "a count beyond the caller's rows"
    if text and not isinstance(json.loads(text), list | dict):
        return "no rows"
    return None


def _wrong_refusal(text: str, headers: dict[str, str]) -> str | None:
    if not text:
        return None
    document = json.loads(text)
    if headers["content-type"] != "application/problem+json" or not {"code", "message", "status"} <= document.keys():
        return "no problem document"
    return "SQL" if SQL.search(document["message"]) else None
