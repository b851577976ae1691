"""An entry as an event of the Open Cybersecurity Schema Framework (https://schema.ocsf.io/1.3.0/). Pure.

Classes and activities are those that every 1.x release has under the same numbers. `metadata.uid` is the digest of the event's id: the
same whether or not the payload is shown, erased, or sent a second time, so a collector knows a repeat by it. Without a payload an event
says what the entry itself says; what its class asks for besides is `withheld`.
"""

import enum
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from foundation.ledger.entries import Entry, Payload
from foundation.ledger.port import Kind

SCHEMA = "1.3.0"
PRODUCT = "domicile"
WITHHELD = "withheld"


class Class(enum.IntEnum):
    """`class_uid`; the thousands are `category_uid`."""

    BASE_EVENT = 0
    ACCOUNT_CHANGE = 3001
    AUTHENTICATION = 3002
    ENTITY_MANAGEMENT = 3004
    API_ACTIVITY = 6003


_ACTOR_BY_PROFILE = frozenset({Class.BASE_EVENT, Class.ENTITY_MANAGEMENT})
"""Classes that have an actor by the profile `host` alone."""

UNKNOWN, OTHER = 0, 99
"""Activities of every class: it is not known which; it is none of the class's own."""
CREATE, READ, UPDATE, DELETE = 1, 2, 3, 4
"""Of Entity Management and API Activity."""
ACCOUNT_CREATE, ACCOUNT_ENABLE, ACCOUNT_LOCK = 1, 2, 9
"""Of Account Change; to unlock has no activity that all of 1.x has, and an account that may act again is enabled."""
LOGON = 1

INFORMATIONAL, LOW, MEDIUM = 1, 2, 3
SUCCESS, FAILURE = 1, 2

_PERSON, _ADMIN, _SYSTEM, _OTHER_TYPE = 1, 2, 3, 99
_OF_VERBS = {"read": READ, "write": UPDATE, "signup": CREATE}
_ENDED = frozenset({"erased", "released"})
"""States of placements and alias claims after which the thing is no more."""
_OF_STEPS = {
    "requested": CREATE,
    "denied": DELETE,
    "revoked": DELETE,
    "closed": DELETE,
    "exempted": CREATE,
    "withdrawn": DELETE,
}
"""Steps of break-glass that begin or end what they are of; the others change it."""


class Seen(NamedTuple):
    """An entry, and what it commits to where that may be shown. `details` is empty where it may not."""

    entry: Entry
    payload: Payload | None
    details: Mapping[str, Any]


class Mapped(NamedTuple):
    """What a kind makes of an entry: its class, what was done, and the members that the class asks for."""

    ocsf: Class
    activity: int
    members: dict[str, Any]
    severity: int = INFORMATIONAL
    status: int = SUCCESS


def event(entry: Entry, payload: Payload | None, *, origin: str, index: int, version: str) -> dict[str, Any]:
    """`origin` and `index`: the log and the entry's place in it. `version`: the product's. Raises msgspec.DecodeError."""
    details = {} if payload is None else msgspec.json.decode(payload.details)
    seen = Seen(entry, payload, details if isinstance(details, dict) else {})
    mapped = _OF_KINDS.get(entry.kind, _of_other)(seen)
    return {
        "activity_id": mapped.activity,
        "category_uid": mapped.ocsf // 1000,
        "class_uid": int(mapped.ocsf),
        "type_uid": mapped.ocsf * 100 + mapped.activity,
        "severity_id": mapped.severity,
        "status_id": mapped.status,
        "time": entry.at_us // 1000,
        "metadata": _metadata(seen, mapped.ocsf, origin, index, version),
        "actor": {"user": _actor(payload)},
        **mapped.members,
        "unmapped": _unmapped(seen),
    }


def _metadata(seen: Seen, ocsf: Class, origin: str, index: int, version: str) -> dict[str, Any]:
    trace = seen.details.get("trace_id")
    return {
        "uid": seen.entry.event,
        "version": SCHEMA,
        "product": {"name": PRODUCT, "vendor_name": PRODUCT, "version": version},
        "log_name": origin,
        "sequence": index,
        "event_code": seen.entry.kind,
        **({"profiles": ["host"]} if ocsf in _ACTOR_BY_PROFILE else {}),
        **({"correlation_uid": trace} if isinstance(trace, str) else {}),
    }


def _unmapped(seen: Seen) -> dict[str, Any]:
    entry, payload = seen.entry, seen.payload
    own: dict[str, Any] = {
        "at_us": entry.at_us,
        "source": entry.source,
        "position": entry.position,
        "commitment": entry.commitment,
    }
    if entry.count is not msgspec.UNSET:
        own |= {"count": entry.count, "root": entry.root}
    if payload is None:
        return own
    return own | {"id": payload.id, "subject_id": payload.subject_id, "details": payload.details}


def _actor(payload: Payload | None) -> dict[str, Any]:
    return {"name": WITHHELD, "type_id": UNKNOWN} if payload is None else _user(payload.actor, payload.subject_id)


def _user(actor: str, subject_id: str | None) -> dict[str, Any]:
    """A user by an actor's id: an operator, a service of any sort, or a person by the subject id."""
    role, named, _ = actor.partition(":")
    if role == "operator":
        return {"uid": actor, "type_id": _ADMIN}
    if actor == subject_id:
        return {"uid": actor, "type_id": _PERSON}
    return {"uid": actor, "type_id": _SYSTEM if named else _OTHER_TYPE}


# --- classes -----------------------------------------------------------------------------------------------------------------


def _entity(sort: str, activity: int, uid: object, comment: object = None) -> Mapped:
    """Entity Management of a `sort` of thing."""
    named = {"uid": str(uid)} if uid is not None else {"name": WITHHELD}
    told = {"comment": comment} if isinstance(comment, str) and comment else {}
    return Mapped(Class.ENTITY_MANAGEMENT, activity, {"entity": {"type": sort, **named}, **told})


def _call(operation: str, activity_of: Callable[[Seen], int]) -> Callable[[Seen], Mapped]:
    """API Activity, by which who and whom it is about are told."""

    def mapped(seen: Seen) -> Mapped:
        subject = _subject(seen)
        members: dict[str, Any] = {"api": {"operation": operation}, "src_endpoint": {"svc_name": seen.entry.source}}
        if subject is not None:
            members["resources"] = [{"type": "subject", "uid": subject}]
        return Mapped(Class.API_ACTIVITY, activity_of(seen), members)

    return mapped


def _subject(seen: Seen) -> str | None:
    return None if seen.payload is None else seen.payload.subject_id


def _verb(seen: Seen) -> int:
    return READ if "read" in seen.details else _OF_VERBS.get(str(seen.details.get("verb")), UNKNOWN)


# --- kinds -------------------------------------------------------------------------------------------------------------------


def _placement(seen: Seen) -> Mapped:
    activity = UNKNOWN if seen.payload is None else _changed(seen)
    return _entity("placement", activity, _subject(seen) or seen.details.get("job"), seen.details.get("reason"))


def _alias(seen: Seen) -> Mapped:
    if "kid" in seen.details:
        return _entity("blinding key", DELETE, seen.details["kid"], seen.details.get("reason"))
    activity = UNKNOWN if seen.payload is None else _changed(seen)
    return _entity("alias claim", activity, seen.details.get("claim"), seen.details.get("reason"))


def _changed(seen: Seen) -> int:
    """By the states before and after, where details have them; a batch of an import says how many it has placed."""
    if str(seen.details.get("to")) in _ENDED:
        return DELETE
    begun = "placed" in seen.details or ("to" in seen.details and seen.details.get("from") is None)
    return CREATE if begun else UPDATE


def _rules(seen: Seen) -> Mapped:
    return _entity("rules", UPDATE, seen.details.get("digest"), seen.details.get("reason"))


def _registry(seen: Seen) -> Mapped:
    after = seen.details.get("after")
    entry = after.get("entry") if isinstance(after, dict) else None
    return _entity("registry entry", UPDATE, entry, seen.details.get("reason"))


def _fence(seen: Seen) -> Mapped:
    return _entity("fence", UPDATE, _subject(seen) or seen.details.get("part"))


def _signup(seen: Seen) -> Mapped:
    subject = _subject(seen)
    user = {"name": WITHHELD, "type_id": UNKNOWN} if subject is None else {"uid": subject, "type_id": _PERSON}
    return Mapped(Class.ACCOUNT_CHANGE, ACCOUNT_CREATE, {"user": user})


def _sign_in(seen: Seen) -> Mapped:
    service = {"name": str(seen.details.get("service") or seen.entry.source)}
    return Mapped(Class.AUTHENTICATION, LOGON, {"user": _actor(seen.payload), "service": service})


def _stepped(sort: str, member: str) -> Callable[[Seen], Mapped]:
    """Entity Management of what a step of break-glass is of, by the member of its details that names it."""

    def mapped(seen: Seen) -> Mapped:
        activity = UNKNOWN if seen.payload is None else _OF_STEPS.get(str(seen.details.get("step")), UPDATE)
        return _entity(sort, activity, seen.details.get(member), seen.details.get("reason"))._replace(severity=MEDIUM)

    return mapped


def _lock(seen: Seen) -> Mapped:
    activity = {"locked": ACCOUNT_LOCK, "unlocked": ACCOUNT_ENABLE}.get(str(seen.details.get("step")), UNKNOWN)
    person = seen.details.get("person")
    user = {"uid": person, "type_id": _ADMIN} if isinstance(person, str) else {"name": WITHHELD, "type_id": UNKNOWN}
    return Mapped(Class.ACCOUNT_CHANGE, activity, {"user": user}, severity=MEDIUM)


def _session(seen: Seen) -> Mapped:
    activity = {"opened": CREATE, "closed": DELETE}.get(str(seen.details.get("of")), UNKNOWN)
    return _entity("access session", activity, seen.details.get("session"))._replace(severity=MEDIUM)


def _statement(seen: Seen) -> Mapped:
    """What it does stands in its text alone."""
    return _call("statement", lambda _: OTHER)(seen)._replace(severity=MEDIUM)


def _refusal(seen: Seen) -> Mapped:
    mapped = _call("refusal", _verb)(seen)
    why = {"status_code": seen.details.get("code"), "status_detail": seen.details.get("ground")}
    told = {name: value for name, value in why.items() if isinstance(value, str)}
    return mapped._replace(members=mapped.members | told, severity=LOW, status=FAILURE)


def _erasure(seen: Seen) -> Mapped:
    return _call("ledger erasure", lambda _: DELETE)(seen)._replace(severity=MEDIUM)


def _of_other(seen: Seen) -> Mapped:
    """A kind that this release does not know: of a log that a newer one wrote."""
    return Mapped(Class.BASE_EVENT, OTHER, {})


_OF_KINDS: dict[str, Callable[[Seen], Mapped]] = {
    Kind.PLACEMENT: _placement,
    Kind.RULES: _rules,
    Kind.REGISTRY: _registry,
    Kind.ALIAS: _alias,
    Kind.FENCE: _fence,
    Kind.CROSSING: _call("crossing", _verb),
    Kind.REFUSAL: _refusal,
    Kind.ACCESS: _call("access", _verb),
    Kind.SHEAF: _call("records", lambda _: OTHER),
    Kind.SIGNUP: _signup,
    Kind.SIGN_IN: _sign_in,
    Kind.JOB_DECISION: _call("job decision", _verb),
    Kind.GRANT: _stepped("access grant", "grant"),
    Kind.LOCK: _lock,
    Kind.EXCEPTION: _stepped("access exception", "exception"),
    Kind.SESSION: _session,
    Kind.STATEMENT: _statement,
    Kind.OUTCOME: _call("statement outcome", lambda _: OTHER),
    Kind.NOTICE: _call("access notice", lambda _: READ),
    Kind.RELEASE: _call("release", lambda _: READ),
    Kind.LEDGER_READ: _call("ledger read", lambda _: READ),
    Kind.ERASURE: _erasure,
}
