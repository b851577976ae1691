"""What clients send to the sample product, parsed at the door. Bounds are those of the tables (deploy/local/product)."""

import datetime
import re
import uuid
from typing import Annotated, Any

import msgspec

from foundation.problems import Code, refuse

Text200 = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Phone = Annotated[str, msgspec.Meta(max_length=40)]
Email = Annotated[str, msgspec.Meta(max_length=320, pattern=r"^[^@\s]+@[^@\s]+$")]
Locale = Annotated[str, msgspec.Meta(max_length=35, pattern=r"^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*$")]
Note = Annotated[str, msgspec.Meta(max_length=10_000)]
Address = Annotated[str, msgspec.Meta(max_length=1_000)]
Quantity = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Cents = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Currency = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$")]

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")


class SignUp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /orders/sign-up`: the person's own words about themselves; where their home is comes from the decision."""

    name: Text200
    email: Email | None = None
    phone: Phone | None = None
    birth_date: datetime.date | None = None
    locale: Locale | None = None

    def columns(self) -> dict[str, Any]:
        """The columns of `profiles` that were stated."""
        stated = {
            "display_name": self.name,
            "email": self.email,
            "phone": self.phone,
            "birth_date": self.birth_date.isoformat() if self.birth_date else None,
            "locale": self.locale,
        }
        return {name: value for name, value in stated.items() if value is not None}


class ProfileChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`PATCH /orders/profile`: what is stated changes, null clears."""

    display_name: Text200 | msgspec.UnsetType = msgspec.UNSET
    email: Email | msgspec.UnsetType | None = msgspec.UNSET
    phone: Phone | msgspec.UnsetType | None = msgspec.UNSET
    birth_date: datetime.date | msgspec.UnsetType | None = msgspec.UNSET
    locale: Locale | msgspec.UnsetType | None = msgspec.UNSET
    marketing_notes: Note | msgspec.UnsetType | None = msgspec.UNSET


class NewOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /orders`. A client that states the `id` may repeat the request: the second one conflicts instead of ordering twice."""

    item: Text200
    total_cents: Cents
    currency: Currency
    quantity: Quantity = 1
    note: Note | None = None
    ship_to: Address | None = None
    id: uuid.UUID | None = None


class OrderChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`PATCH /orders/{id}`."""

    note: Note | msgspec.UnsetType | None = msgspec.UNSET
    quantity: Quantity | msgspec.UnsetType = msgspec.UNSET


def stated(change: ProfileChange | OrderChange) -> dict[str, Any]:
    """The columns that a change names, as JSON values. Raises ProblemError when it names none."""
    columns: dict[str, Any] = msgspec.to_builtins(change)
    if not columns:
        raise refuse(Code.BAD_REQUEST, f"state at least one of: {', '.join(change.__struct_fields__)}")
    return columns


def row_id(text: str) -> str:
    """A UUID from a path, in lower case. Raises ProblemError: what is no id leads nowhere."""
    if not _UUID.match(text):
        raise refuse(Code.NOT_FOUND, "an order's id is a UUID")
    return text.lower()
