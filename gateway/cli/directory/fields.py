"""Which fields a file of users has, and where each comes from. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

IDENTIFIERS = ("email", "phone", "handle")
NAMING = ("issuer", "sub", *IDENTIFIERS)
"""Fields that say who somebody is: they are blinded, and go no further."""
LISTS = ("services", "tags", "citizenships")
FIELDS = (
    *NAMING, "residence", "verified_residence", "subdivision", "citizenships", "tags", "terms", "services",
)  # fmt: skip


class FieldMap(msgspec.Struct, frozen=True):
    """Where a row's fields come from: `columns`, field → column of the file; `constants`, field → value of every row."""

    columns: Mapping[str, str]
    constants: Mapping[str, str]


def mapping(maps: tuple[str, ...], constants: tuple[str, ...], regions: Mapping[str, str]) -> FieldMap:
    """`FIELD=COLUMN` and `FIELD=VALUE`; a field that is not named comes from the column of its own name. `regions`: issuers by region.
    Raises ValueError."""
    columns = {field: field for field in FIELDS} | _pairs(maps)
    fixed = _pairs(constants)
    if "issuer" in fixed:
        fixed["issuer"] = regions.get(fixed["issuer"], fixed["issuer"])
    return FieldMap({field: column for field, column in columns.items() if field not in fixed}, fixed)


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        field, separator, value = text.partition("=")
        if not separator or not value or field not in FIELDS:
            raise ValueError(f"{text!r}: write FIELD=…, FIELD being one of {', '.join(FIELDS)}")
        if field in found:
            raise ValueError(f"{field} stands twice")
        found[field] = value
    return found


def value_of(field: str, value: Any) -> Any:
    """Empty is not stated. A list may be JSON's, or text with commas."""
    if value is None or value == "":
        return None
    if field in LISTS:
        parts = value if isinstance(value, list) else [part.strip() for part in str(value).split(",")]
        return sorted({part.upper() if field == "citizenships" else part for part in parts if part})
    return (
        str(value).strip().upper()
        if field in ("residence", "verified_residence", "subdivision")
        else str(value).strip()
    )
