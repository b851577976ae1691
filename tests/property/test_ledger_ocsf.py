"""Whatever an event's details are, it has an OCSF event of a class, and without its payload nothing of them."""

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from foundation.ledger.entries import Recorded, opened, parse, sealed
from foundation.ledger.export import ocsf
from foundation.ledger.port import Kind

NAMES = (
    "from",
    "to",
    "verb",
    "read",
    "reason",
    "after",
    "digest",
    "claim",
    "kid",
    "job",
    "part",
    "placed",
    "code",
    "ground",
    "trace_id",
    "step",
    "grant",
    "person",
    "exception",
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 40), 1 << 40)
    | st.text(max_size=8)
    | st.sampled_from(["write", "erased", "revoked", "locked"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=8,
)
DETAILS = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8) | JSON


@given(
    kind=st.sampled_from([*Kind, "of a newer release"]),
    details=DETAILS,
    actor=st.text(max_size=12),
    named=st.booleans(),
)
def test_every_event_has_its_class_and_its_id(kind: str, details: object, actor: str, named: bool) -> None:
    row = Recorded(
        position=1,
        id="id",
        at_us=1_800_000_000_000_000,
        kind=kind,
        actor=actor,
        subject_id="aaaaaaaa-0000-4000-8000-00000000000a" if named else None,
        details=msgspec.Raw(json.dumps(details).encode()),
    )
    raw, opening = sealed(row, "s1", b"s" * 32)
    entry = parse(raw)
    shown, bare = (
        json.loads(msgspec.json.encode(ocsf.event(entry, payload, origin="o", index=0, version="0")))
        for payload in (opened(entry, opening), None)
    )
    for told in (shown, bare):
        assert told["type_uid"] == told["class_uid"] * 100 + told["activity_id"]
        assert told["category_uid"] == told["class_uid"] // 1000
        assert told["metadata"]["uid"] == entry.event
    assert shown["unmapped"]["details"] == details
    assert (shown["class_uid"], shown["severity_id"], shown["status_id"]) == (
        bare["class_uid"],
        bare["severity_id"],
        bare["status_id"],
    )
    assert bare == json.loads(msgspec.json.encode(ocsf.event(entry, None, origin="o", index=0, version="0")))
    assert set(bare["unmapped"]) == {"at_us", "commitment", "position", "source"}
