"""Jurisdictions and tags that are made up, packs of a few rows about them, and a question in a line."""

from typing import Any

from routing_rules.law.questions import Answer
from routing_rules.pack import Pack
from tests.stands.law import Rows, crossing, law, made

A = {"id": "aa", "countries": "FR"}
B = {"id": "bb", "kind": "bloc", "countries": "GB;LI"}
C = {"id": "cc", "countries": "CH"}
PART = {"id": "bb-p", "kind": "subdivision", "parent": "bb", "subdivisions": "GB-P"}
SCHEME = {"id": "bb-s", "kind": "scheme", "parent": "bb"}
ZONE = {"id": "cc-z", "kind": "overlay", "parent": "cc"}
PLACES = (A, B, C, PART, SCHEME, ZONE)
TAGS: Rows = [
    {"tag": "special_category"},
    {"tag": "health"},
    {"tag": "money", "may_be": "number"},
    {"tag": "number"},
    {"tag": "bank", "kind": "sector"},
    {"tag": "payments", "kind": "sector"},
    {"tag": "wellness", "may_be": "consumer_health"},
    {"tag": "consumer_health"},
]
ALLOW, WITH, DENY, UNKNOWN = Answer.ALLOW, Answer.ALLOW_WITH, Answer.DENY, Answer.UNKNOWN


def pack(**tables: Rows) -> Pack:
    return made(*PLACES, **({"tags": TAGS} | tables))


def edges(*rows: dict[str, str], **tables: Rows) -> Pack:
    return pack(edges=[{"from": "aa"} | row for row in rows], **tables)


def gateways(*rows: dict[str, str], **tables: Rows) -> Pack:
    return pack(gateways=[{"from": "aa", "to": "*"} | row for row in rows], **tables)


def asked(of: Pack, to: str = "bb", *tags: str, **more: Any) -> Answer:
    return crossing(law(of), "aa", to, *tags, **more).answer


THRESHOLD = {"id": "many", "jurisdiction": "aa", "tag": "health", "min": "100"}
