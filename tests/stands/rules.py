"""Rules for tests: the embedded stack's own policy, rendered; packs made of a few rows."""

import csv
import datetime
import io
import string
from pathlib import Path

from foundation.words import CellId, Country, RegionId, ServiceId, Verb
from routing_rules.facts import PlaceFacts, RequestFacts, SubjectFacts
from routing_rules.pack import Pack, parse
from routing_rules.rules import Rules, load

TODAY = datetime.date(2026, 11, 21)
TEMPLATE = Path(__file__).parents[2] / "deploy" / "local" / "policy.template.toml"
ADDRESSES = {
    f"{service}_{cell}": f"127.0.0.1:{7000 + 10 * one + two}"
    for one, service in enumerate(("orders", "records"))
    for two, cell in enumerate(("eu_de", "us_va", "in_mum"))
}
ORIGINS = {f"gateway_{region}": f"http://127.0.0.1:{7100 + n}" for n, region in enumerate(("eu", "us", "in"))}
POLICY = string.Template(TEMPLATE.read_text(encoding="utf-8")).substitute(ADDRESSES | ORIGINS)


def policy_with(*changes: tuple[str, str]) -> str:
    """The stack's policy with texts replaced; each must stand there."""
    text = POLICY
    for old, new in changes:
        assert old in text, f"{old!r} is not in the policy"
        text = text.replace(old, new)
    return text


def rules() -> Rules:
    return load(POLICY)


def person(country: str = "DE", services: tuple[str, ...] = ("orders",), **more: object) -> PlaceFacts:
    return PlaceFacts(
        subject=SubjectFacts(residence=Country(country), **more),  # type: ignore[arg-type]
        services=tuple(ServiceId(one) for one in services),
    )


def request(**changes: object) -> RequestFacts:
    """A German's read of orders that comes in at home, with fields changed."""
    facts: dict[str, object] = {
        "service": ServiceId("orders"),
        "verb": Verb.READ,
        "ingress": RegionId("eu"),
        "cell": CellId("eu-de"),
        "subject": SubjectFacts(residence=Country("DE")),
        "services": (ServiceId("orders"),),
    }
    return RequestFacts(**(facts | changes))  # type: ignore[arg-type]


COLUMNS = ["id", "name", "kind", "parent", "countries", "law", "as_of", "status", "profile", "since", "until"]
COLUMNS += ["source", "confidence", "note"]


def pack_text(*rows: dict[str, str]) -> str:
    """A jurisdictions.csv of a few rows; what a row leaves out is filled with something valid."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    for row in rows:
        filled = {"name": row["id"], "kind": "state", "status": "in_force", "profile": "both", "since": "2020-01-01"}
        writer.writerow(
            dict.fromkeys(COLUMNS, "") | filled | {"as_of": "2026-01", "confidence": "high", "source": "K: test"} | row
        )
    return out.getvalue()


EU = {"id": "eu", "kind": "bloc", "countries": "DE;FR"}
US = {"id": "us", "countries": "US"}
IN = {"id": "in", "countries": "IN"}
UK = {"id": "uk", "countries": "GB"}
CH = {"id": "ch", "countries": "CH"}


def small_pack(*rows: dict[str, str]) -> Pack:
    """The jurisdictions that the stack's policy names, each replaced by the row of the same id if one is given, and the rest added."""
    named = {row["id"]: row for row in (EU, US, IN, UK, CH, *rows)}
    return parse(pack_text(*named.values()))
