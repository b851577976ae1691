"""Policy of break-glass in Cedar (https://docs.cedarpolicy.com), validated against its schema; evaluated from facts, without I/O.

`access.cedar` says who may do what. A deployment may add rules of its own (`[access] policy`), which may only forbid: nobody's file lets
through what the release's rules stop. An evaluation that meets an error is a refusal.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cedarpy
import msgspec

from cells.breakglass.book import Grant
from cells.breakglass.steps import Presence
from cells.breakglass.words import EngineerId, Purpose
from foundation.settings import SettingsError
from foundation.words import CellId, Country

HERE = Path(__file__).parent
SCHEMA = (HERE / "access.cedarschema").read_text(encoding="utf-8")
RULES = (HERE / "access.cedar").read_text(encoding="utf-8")
ROLES = frozenset({"engineer", "approver", "security", "auditor"})
RULES_BYTES_MAX = 1 << 18


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: by sign-in, with the roles that it stated and where they are."""

    id: EngineerId
    roles: frozenset[str]
    presence: Presence
    observed_inside: bool
    declared_inside: bool


class Denied(msgspec.Struct, frozen=True):
    """`rules`: the ids of the rules that forbid it; none where no rule permits it, or one could not be evaluated."""

    rules: tuple[str, ...]


class AccessPolicy:
    """The rules of a process, parsed and validated once."""

    def __init__(self, cell: CellId, further: str = "") -> None:
        """Raises SettingsError."""
        self._cell = cell
        self._schema = cedarpy.Schema.from_str(SCHEMA)
        try:
            if further:
                _refuse_permits(further)
            validated = cedarpy.validate_policies(RULES + further, self._schema)
            self._rules = cedarpy.PolicySet.from_str(RULES + further)
        except ValueError as exc:
            raise SettingsError(f"the rules of access cannot be read: {exc}") from exc
        if not validated.validation_passed:
            raise SettingsError(f"the rules of access do not fit their schema: {validated.errors[0]}")

    def request(self, person: Person, purpose: Purpose, *, on_call: bool) -> Denied | None:
        """None where the person may ask."""
        action = "request_emergency" if on_call else "request"
        return self._ask(person, action, {"purpose": purpose.value, "on_call": on_call})

    def about(self, person: Person, action: str, grant: Grant) -> Denied | None:
        """None where the person may: edit, approve, deny, revoke, close, certify, show, review."""
        return self._ask(person, action, {}, grant)

    def upon(self, person: Person, action: str, other: EngineerId | None = None) -> Denied | None:
        """None where the person may: lock, unlock, exempt (`other`: whom); list, report, audit_roles, withdraw."""
        return self._ask(person, action, {} if other is None else {"person": _reference("Engineer", other)})

    def _ask(
        self, person: Person, action: str, context: Mapping[str, Any], grant: Grant | None = None
    ) -> Denied | None:
        resource = ("Cell", self._cell) if grant is None else ("Grant", grant.id)
        known = [_uid("Cell", self._cell), _engineer(person)]
        if grant is not None:
            known.append(_grant(grant))
        asked = {
            "principal": {"type": "Engineer", "id": person.id},
            "action": {"type": "Action", "id": action},
            "resource": {"type": resource[0], "id": resource[1]},
            "context": {"presence": _presence(person), **context},
        }
        answer = cedarpy.is_authorized(asked, self._rules, known, self._schema)
        told = answer.diagnostics
        if answer.allowed and not told.errors:
            return None
        ids = told.id_annotations_by_reason
        return Denied(() if answer.allowed else tuple(sorted(ids.get(one, one) for one in told.reasons)))


def _refuse_permits(further: str) -> None:
    """Raises SettingsError, ValueError."""
    if len(further.encode()) > RULES_BYTES_MAX:
        raise SettingsError(f"further rules of access have at most {RULES_BYTES_MAX} bytes")
    found = cedarpy.policies_to_pst(further)
    effects = {one.effect for one in (*found.static_policies.values(), *found.templates.values())}
    if effects - {"forbid"}:
        raise SettingsError("further rules of access may only forbid")


def _uid(kind: str, name: str) -> dict[str, Any]:
    return {"uid": {"type": kind, "id": name}, "attrs": {}, "parents": []}


def _reference(kind: str, name: str) -> dict[str, Any]:
    return {"__entity": {"type": kind, "id": name}}


def _engineer(person: Person) -> dict[str, Any]:
    held = [{"type": "Role", "id": role} for role in sorted(person.roles)]
    return {"uid": {"type": "Engineer", "id": person.id}, "attrs": {}, "parents": held}


def _grant(grant: Grant) -> dict[str, Any]:
    alone = any(vote.alone for vote in grant.votes)
    return {
        "uid": {"type": "Grant", "id": grant.id},
        "attrs": {
            "engineer": _reference("Engineer", grant.engineer),
            "purpose": grant.terms.purpose.value,
            "emergency": grant.emergency,
            "approvers": [_reference("Engineer", vote.by) for vote in grant.votes],
            "approvals": grant.needed if alone else len(grant.votes),
            "needed": grant.needed,
            "inside": grant.presence.inside,
            "inside_approval": grant.from_inside,
        },
        "parents": [],
    }


def _presence(person: Person) -> dict[str, Any]:
    at = person.presence
    return {
        "home": _country(at.home),
        "observed": _country(at.observed),
        "declared": _country(at.declared),
        "observed_inside": person.observed_inside,
        "declared_inside": person.declared_inside,
        "home_inside": at.home_inside,
    }


def _country(country: Country | None) -> str:
    return country or ""
