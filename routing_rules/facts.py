"""Facts in: what `decide` and `place` rest on. Hashable, of few distinct values: keys of caches that hold until `valid_until`."""

import msgspec

from foundation.words import CellId, Country, RegionId, ServiceId, Verb


class SubjectFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What rules need to know of a person. `subdivision`: part of that country (ISO 3166-2, `US-TX`), None: unknown.

    `citizenships` None: not asked. `tags`: kinds of data kept of this person beyond what services declare.
    `terms`: the entry of policy's `[terms]` that binds them.
    """

    residence: Country
    subdivision: str | None = None
    citizenships: tuple[Country, ...] | None = None
    tags: tuple[str, ...] = ()
    terms: str | None = None


class RequestFacts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request: `service` of the person's `cell`, taken in by region `ingress`. `services`: what the placement was made for.

    On sign-up `cell` is one that `place` has just allowed. `actor`: the entry of policy's `[actors]` that acts for the person, None: none.
    """

    service: ServiceId
    verb: Verb
    ingress: RegionId
    cell: CellId
    subject: SubjectFacts
    services: tuple[ServiceId, ...]
    actor: ServiceId | None = None


class ViewFacts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request of a `reader` for what somebody of cell `to` shows; of whoever that is nothing else is asked here."""

    reader: RequestFacts
    to: CellId


class PlaceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A placement: `subject.residence` is the verified one where there is one, `declared` what the person said if that differs.

    `observed`: the country that the address pointed at; it raises a question and never decides.
    """

    subject: SubjectFacts
    services: tuple[ServiceId, ...]
    declared: Country | None = None
    observed: Country | None = None
