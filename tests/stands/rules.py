"""Rules for tests: the embedded stack's own policy, rendered; packs made of a few rows."""

import csv
import datetime
import io
import string
from pathlib import Path

from foundation.words import CellId, Country, RegionId, ServiceId, Verb
from routing_rules.facts import PlaceFacts, RequestFacts, SubjectFacts
from routing_rules.pack import FILES, Pack, bundled_texts, parse
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


def pack_text(*rows: dict[str, str]) -> str:
    """A jurisdictions.csv of a few rows; what a row leaves out is filled with something valid."""
    filled = {"kind": "state", "general_storage_rule": "free", "as_of": "2026-01"} | VALID
    return table_text(
        "jurisdictions.csv",
        *(filled | {"name": row["id"], "fact_ref": f"jurisdictions.csv:{row['id']}"} | row for row in rows),
    )


VALID = {
    "fact_ref": "jurisdictions.md:1",
    "status": "in_force",
    "profile": "both",
    "since": "2020-01-01",
    "date_precision": "day",
    "since_basis": "stated",
    "source": "K: test",
    "confidence": "high",
}
"""What every row of a pack needs, for rows that are made up."""


def table_text(file: str, *rows: dict[str, str]) -> str:
    """A file of the pack with the columns of the real one and only these rows; cells that a row leaves out are blank."""
    out = io.StringIO()
    columns = next(csv.reader([bundled_texts()[file].partition("\n")[0]]))
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def pack_files(*rows: dict[str, str], **tables: str) -> dict[str, str]:
    """Every file of a pack of these jurisdictions; other files hold only their header unless their text is given (`edges=…`)."""
    files = {file: table_text(file) for file in FILES} | {"jurisdictions.csv": pack_text(*rows)}
    return files | {f"{name}.csv": text for name, text in tables.items()}


EU = {"id": "eu", "kind": "bloc", "countries": "DE;FR"}
US = {"id": "us", "countries": "US"}
IN = {"id": "in", "countries": "IN"}
UK = {"id": "uk", "countries": "GB"}
CH = {"id": "ch", "countries": "CH"}
ASKED_OF_THE_STACK = ("scc", "impact_assessment")


def small_pack(*rows: dict[str, str]) -> Pack:
    """The jurisdictions that the stack's policy names, each replaced by the row of the same id if one is given, and the rest added;
    and the two rows that ask for its instruments."""
    named = {row["id"]: row for row in (EU, US, IN, UK, CH, *rows)}
    asking = [VALID | {"from": "eu", "to": "*", "alternative": "1", "requirement": one} for one in ASKED_OF_THE_STACK]
    return parse(pack_files(*named.values(), gateways=table_text("gateways.csv", *asking)))
