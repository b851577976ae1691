"""Entries as OCSF events: every kind has a class, with what that class asks for, and says no more of people than it may."""

import json
from typing import Any

import msgspec
import pytest

from foundation.ledger.entries import Entry, Payload, event_digest, opened, parse, sealed
from foundation.ledger.entries import Recorded as Row
from foundation.ledger.export import ocsf
from foundation.ledger.port import Kind

SUBJECT = "0f0e0d0c-0b0a-4900-8807-060504030201"
TRACE = "ab" * 16

REQUIRED = {
    "activity_id",
    "category_uid",
    "class_uid",
    "metadata",
    "severity_id",
    "time",
    "type_uid",
}
"""Of every event, https://schema.ocsf.io/1.3.0/base_event."""
OF_CLASSES: dict[int, tuple[set[str], set[int]]] = {
    0: (set(), set()),
    3001: ({"user"}, set(range(1, 12))),
    3002: ({"user"}, {1, 2, 3, 4, 5}),
    3004: ({"entity"}, {1, 2, 3, 4}),
    6003: ({"actor", "api", "src_endpoint"}, {1, 2, 3, 4}),
}
"""By class: what it requires besides, and its activities beside 0 and 99."""
ONE_OF = {
    "user": {"account", "name", "uid"},
    "entity": {"name", "uid"},
    "actor": {"process", "user", "invoked_by", "session", "app_name", "app_uid"},
    "src_endpoint": {"ip", "uid", "name", "hostname", "svc_name"},
    "api": {"operation"},
    "service": {"name", "uid"},
}
"""Of these objects at least one."""

DETAILS: dict[Kind, dict[str, Any]] = {
    Kind.PLACEMENT: {"cell": "eu-de", "from": None, "to": "reserved", "reason": "sign-up"},
    Kind.RULES: {"digest": "sha256:" + "a" * 64, "before": None, "reason": "first"},
    Kind.REGISTRY: {
        "before": {"entry": "cells/eu-de"},
        "after": {"entry": "cells/eu-de", "version": 2},
        "reason": "drain",
    },
    Kind.ALIAS: {"claim": "c1", "cell": "eu-de", "from": "claimed", "to": "released", "reason": "no"},
    Kind.FENCE: {"epoch": 7, "state": "active"},
    Kind.CROSSING: {"verb": "read", "service": "orders", "trace_id": TRACE},
    Kind.REFUSAL: {"verb": "write", "code": "residency_refused", "ground": "no edge", "trace_id": TRACE},
    Kind.ACCESS: {"verb": "write", "service": "orders", "trace_id": TRACE},
    Kind.SIGNUP: {"epoch": 7, "rules": "sha256:" + "a" * 64},
    Kind.JOB_DECISION: {"verb": "read", "purpose": "service", "epoch": 7},
    Kind.GRANT: {"step": "requested", "grant": "g-1", "terms": {"subjects": [SUBJECT], "ticket": "OPS-1"}, "needed": 1},
    Kind.LOCK: {"step": "locked", "person": "engineer:ann", "reason": "left"},
    Kind.EXCEPTION: {"step": "exempted", "exception": "x-1", "owner": "dpo", "reason": "audit", "note": "n"},
    Kind.SESSION: {"of": "opened", "session": "s-1", "grant": "g-1", "subjects": [SUBJECT]},
    Kind.STATEMENT: {"of": "intended", "session": "s-1", "number": 1, "kind": "simple", "text": "SELECT 1"},
    Kind.OUTCOME: {"of": "ended", "session": "s-1", "results": [{"number": 1, "tag": "SELECT 1"}]},
    Kind.NOTICE: {"session": "s-1", "grant": "g-1", "columns": []},
    Kind.RELEASE: {"table": "orders", "destination": "lake", "purpose": "analytics", "rows": 3, "manifest": "ab" * 32},
    Kind.SHEAF: {"lost": 2},
    Kind.SIGN_IN: {"service": "cell:eu-de", "roles": ["operator"], "expires": 1.8e9},
    Kind.LEDGER_READ: {"what": "entries", "count": 3},
    Kind.ERASURE: {"subject": "ab" * 32, "erased": 3},
}
EXPECTED = {
    Kind.PLACEMENT: (300401, 1),
    Kind.RULES: (300403, 1),
    Kind.REGISTRY: (300403, 1),
    Kind.ALIAS: (300404, 1),
    Kind.FENCE: (300403, 1),
    Kind.CROSSING: (600302, 1),
    Kind.REFUSAL: (600303, 2),
    Kind.ACCESS: (600303, 1),
    Kind.SHEAF: (600399, 1),
    Kind.SIGNUP: (300101, 1),
    Kind.JOB_DECISION: (600302, 1),
    Kind.GRANT: (300401, 1),
    Kind.LOCK: (300109, 1),
    Kind.EXCEPTION: (300401, 1),
    Kind.SESSION: (300401, 1),
    Kind.STATEMENT: (600399, 1),
    Kind.OUTCOME: (600399, 1),
    Kind.NOTICE: (600302, 1),
    Kind.RELEASE: (600302, 1),
    Kind.SIGN_IN: (300201, 1),
    Kind.LEDGER_READ: (600302, 1),
    Kind.ERASURE: (600304, 1),
}
"""`type_uid` and `status_id`."""


def entry_of(kind: str, details: dict[str, Any] | None = None, actor: str = "operator:ann") -> tuple[Entry, Payload]:
    row = Row(
        position=4,
        id=f"{kind}/{SUBJECT}/1",
        at_us=1_800_000_000_123_456,
        kind=kind,
        actor=actor,
        subject_id=SUBJECT,
        details=msgspec.Raw(json.dumps(DETAILS[Kind(kind)] if details is None else details).encode()),
    )
    raw, opening = sealed(row, "s1", b"s" * 32)
    entry = parse(raw)
    return entry, opened(entry, opening)


def event(entry: Entry, payload: Payload | None) -> dict[str, Any]:
    made = ocsf.event(entry, payload, origin="ledger.test/log", index=9, version="0.1.0")
    told: dict[str, Any] = json.loads(msgspec.json.encode(made))
    return told


def check(told: dict[str, Any]) -> None:
    required, activities = OF_CLASSES[told["class_uid"]]
    assert set(told) >= REQUIRED | required
    assert told["category_uid"] == told["class_uid"] // 1000
    assert told["type_uid"] == told["class_uid"] * 100 + told["activity_id"]
    assert told["activity_id"] in activities | {0, 99}
    assert told["severity_id"] in range(7)
    assert told["time"] == 1_800_000_000_123
    # Of these two classes an actor is the host profile's, of the others their own.
    assert (told["metadata"].get("profiles") == ["host"]) == (told["class_uid"] in (0, 3004))
    assert (told["metadata"]["version"], told["metadata"]["product"]["name"]) == ("1.3.0", "domicile")
    if told["class_uid"] == 3002:
        assert {"service", "dst_endpoint"} & set(told)
    for name, members in ONE_OF.items():
        if name in told:
            assert members & set(told[name]), name


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_is_an_event_of_a_class_with_all_that_the_class_asks_for(kind: Kind) -> None:
    entry, payload = entry_of(kind)
    shown, bare = event(entry, payload), event(entry, None)
    check(shown)
    check(bare)
    assert (shown["type_uid"], shown["status_id"]) == EXPECTED[kind]
    assert (shown["class_uid"], shown["severity_id"]) == (bare["class_uid"], bare["severity_id"])
    assert bare["activity_id"] in (shown["activity_id"], 0)


@pytest.mark.parametrize("kind", list(Kind))
def test_without_a_payload_an_event_says_no_more_than_its_entry(kind: Kind) -> None:
    entry, _ = entry_of(kind)
    text = json.dumps(event(entry, None))
    assert SUBJECT not in text
    assert "ann" not in text
    assert TRACE not in text
    told = event(entry, None)
    assert set(told["unmapped"]) == {"at_us", "commitment", "position", "source"}


@pytest.mark.parametrize("kind", list(Kind))
def test_an_event_bears_the_same_id_with_its_payload_and_without(kind: Kind) -> None:
    entry, payload = entry_of(kind)
    ids = {event(entry, one)["metadata"]["uid"] for one in (payload, None)}
    assert ids == {event_digest(f"{kind}/{SUBJECT}/1")}


def test_with_its_payload_an_event_says_who_did_what_to_whom() -> None:
    told = event(*entry_of(Kind.REFUSAL))
    assert told["actor"] == {"user": {"uid": "operator:ann", "type_id": 2}}
    assert told["resources"] == [{"type": "subject", "uid": SUBJECT}]
    assert (told["status_code"], told["status_detail"]) == ("residency_refused", "no edge")
    assert told["metadata"]["correlation_uid"] == TRACE
    assert told["unmapped"]["details"] == DETAILS[Kind.REFUSAL]
    assert told["unmapped"]["id"] == f"refusal/{SUBJECT}/1"


@pytest.mark.parametrize(
    ("actor", "sort"), [("operator:ann", 2), ("service:orders", 3), ("gateway:eu", 3), (SUBJECT, 1), ("somebody", 99)]
)
def test_actors_are_told_apart(actor: str, sort: int) -> None:
    told = event(*entry_of(Kind.ACCESS, actor=actor))
    assert told["actor"]["user"] == {"uid": actor, "type_id": sort}


@pytest.mark.parametrize(
    ("kind", "details", "activity"),
    [
        (Kind.PLACEMENT, {"from": "reserved", "to": "active"}, 3),
        (Kind.PLACEMENT, {"from": "active", "to": "erased"}, 4),
        (Kind.PLACEMENT, {"job": "j", "batch": 1, "placed": 100}, 1),
        (Kind.PLACEMENT, {"job": "j", "part": 1, "count": 100}, 3),
        (Kind.ALIAS, {"claim": "c", "from": None, "to": "claimed"}, 1),
        (Kind.ALIAS, {"claim": "c", "from": "claimed", "to": "confirmed"}, 3),
        (Kind.ALIAS, {"kid": "k1", "removed": 3}, 4),
        (Kind.GRANT, {"step": "approved", "grant": "g-1"}, 3),
        (Kind.GRANT, {"step": "revoked", "grant": "g-1"}, 4),
        (Kind.LOCK, {"step": "unlocked", "person": "engineer:ann"}, 2),
        (Kind.EXCEPTION, {"step": "withdrawn", "exception": "x-1"}, 4),
        (Kind.SESSION, {"of": "closed", "session": "s-1"}, 4),
        (Kind.ACCESS, {"read": "crossings", "limit": 1}, 2),
        (Kind.CROSSING, {"verb": "write"}, 3),
        (Kind.CROSSING, {}, 0),
    ],
)
def test_what_was_done_is_told_by_details(kind: Kind, details: dict[str, Any], activity: int) -> None:
    told = event(*entry_of(kind, details))
    check(told)
    assert told["activity_id"] == activity


def test_a_kind_of_a_newer_release_is_a_base_event() -> None:
    row = Row(
        position=1,
        id="new",
        at_us=1_800_000_000_123_456,
        kind="of a newer release",
        actor="a:b",
        subject_id=None,
        details=msgspec.Raw(b"[1]"),
    )
    raw, opening = sealed(row, "s1", b"s" * 32)
    entry = parse(raw)
    told = event(entry, opened(entry, opening))
    check(told)
    assert (told["class_uid"], told["type_uid"], told["metadata"]["event_code"]) == (0, 99, "of a newer release")
