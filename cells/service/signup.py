"""Sign-up: a product service asks its cell to claim, place and confirm; the answer is the new subject's first decision."""

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from cells.aliases import store as alias_store
from cells.aliases.api import AliasWords, identifier_of
from cells.aliases.claims import Aliases, claim_id_of
from cells.aliases.store import Alias
from cells.service.context import Context
from cells.service.core import first_decision, signup_problem
from directory.aliases.core import ClaimState
from directory.client.remote import DirectoryUnavailable
from directory.placement.answers import TAGS_MAX, ClaimedKey, CountryCode, PlacedAnswer, PlaceRequest, Slug, Tag, Terms
from directory.placement.core import Placement, State
from foundation import logs
from foundation.decision import Decision
from foundation.decision_header import HEADER, new_decision_id
from foundation.http import body_json, json_response
from foundation.ledger.port import Event, Kind
from foundation.problems import Code, Problem, ProblemError, refuse
from foundation.words import ServiceId, SubjectId

log = logs.get(__name__)

ACTIVE_S_MAX = 5.0
SERVICES_MAX = 32
ALIASES_MAX = 4


class SignUpRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`services`: which to place for; none stated = the calling service alone.

    What the product knows beside what the person declared: `verified_residence`, which then decides; `tags`, kinds of data that it will
    keep of this person beyond what policy says of the services; `terms`, the entry of policy that binds them; `aliases`, of which it has
    proven that the person controls them.
    """

    services: Annotated[tuple[Slug, ...], Meta(max_length=SERVICES_MAX)] = ()
    verified_residence: CountryCode | None = None
    tags: Annotated[tuple[Tag, ...], Meta(max_length=TAGS_MAX)] = ()
    terms: Terms | None = None
    aliases: Annotated[tuple[AliasWords, ...], Meta(max_length=ALIASES_MAX)] = ()


class SignUp:
    """The handler over one cell's context."""

    def __init__(self, context: Context, aliases: Aliases) -> None:
        self._context = context
        self._aliases = aliases

    async def signup(self, request: Request) -> Response:
        context = self._context
        service = await context.product_service(request)
        decision = context.decision(request.headers.get(HEADER), service)
        asked = await body_json(request, SignUpRequest)
        services = tuple(dict.fromkeys(ServiceId(name) for name in asked.services)) or (service,)
        policy = context.rules.require().policy
        refused = signup_problem(decision, policy, services)
        if refused is not None:
            raise ProblemError(refused)
        claims = await self._claim(decision, asked.aliases)
        try:
            placed = await self._place(decision, services, asked)
        except ProblemError as exc:
            if exc.problem.status < 500:  # else the placement may stand, and a repeat finds its claims
                await self._give_back(claims)
            raise
        placement = placed.placement
        await self._until_active(placement)
        await self._confirm(claims, placement.subject_id)
        await self._record(decision, placed)
        rules = context.rules.require()
        first = first_decision(
            decision,
            placement.subject_id,
            placement.epoch,
            purpose=rules.policy.services[service].purpose,
            rules=rules.digest,
            expires=context.clock.unix_s() + rules.policy.product.decision_s,
            decision_id=new_decision_id(),
        )
        answer = {
            "subject_id": placement.subject_id,
            "epoch": placement.epoch,
            "decision": context.minter.mint(first),
            "questions": placed.questions,
        }
        return json_response(answer, 201)

    async def _claim(self, decision: Decision, words: tuple[AliasWords, ...]) -> list[Alias]:
        """All or none, before anything is kept of the person: whoever comes second hears it here. Raises ProblemError."""
        identifiers = [identifier_of(one) for one in words]
        claims: list[Alias] = []
        for number, identifier in enumerate(identifiers):
            claim_id = claim_id_of(decision.id, number)
            try:
                alias, answer = await self._aliases.claim(
                    self._context.event_shard(), claim_id, identifier, subject=None
                )
            except ProblemError as exc:
                if exc.problem.status < 500:
                    await self._give_back(claims)
                raise
            if answer.claim.state is ClaimState.RELEASED:
                raise refuse(Code.CONFLICT, "this sign-up was given up; begin another one")
            claims.append(alias)
        return claims

    async def _give_back(self, claims: list[Alias]) -> None:
        """What cannot be given back now is settled later: it is written down as wanted, and nothing more."""
        for alias in claims:
            try:
                await self._aliases.release(
                    self._context.event_shard(), alias.claim_id, reason="the sign-up was refused"
                )
            except (DirectoryUnavailable, ProblemError) as exc:
                log.warning("claim_left", claim=alias.claim_id, error=str(exc))

    async def _confirm(self, claims: list[Alias], subject: SubjectId) -> None:
        home = self._context.homes.get(subject)
        if home is None:
            raise refuse(Code.CELL_BEHIND, "the new home is not confirmed yet; try again", retry_after_s=1)
        first, own = self._context.event_shard(), self._context.shard_of(home)
        for alias in claims:
            await self._aliases.confirm(own, alias, subject)
            if own is not first:
                await alias_store.forget(first, alias.claim_id)

    async def _place(self, decision: Decision, services: tuple[ServiceId, ...], stated: SignUpRequest) -> PlacedAnswer:
        asked = PlaceRequest(
            residence=str(decision.residence),
            services=services,
            keys=tuple(ClaimedKey(kind=proven.kind, key=proven.key, kid=proven.kid) for proven in decision.keys),
            reason=f"sign-up for {decision.service}",
            tags=stated.tags,
            terms=stated.terms,
            verified_residence=stated.verified_residence,
            subdivision=decision.subdivision,
            citizenships=decision.citizenships,
            observed=decision.observed,
        )
        try:
            placed = await self._context.directory.place(asked, idempotency_key=f"signup-{decision.id}")
        except DirectoryUnavailable as exc:
            raise refuse(Code.HOME_UNKNOWN, "the directory cannot be asked just now", retry_after_s=1) from exc
        if isinstance(placed, Problem):
            raise ProblemError(placed)
        placement = placed.placement
        if placement.cell != self._context.cell:
            log.error("signup_placed_elsewhere", cell=placement.cell, subject_id=placement.subject_id)
            raise refuse(Code.INTERNAL, "the directory placed the subject in another cell")
        return placed

    async def _until_active(self, placement: Placement) -> None:
        """Waits until this cell's own fence lets the new subject in. Raises ProblemError."""
        homes = self._context.homes

        def settled() -> bool:
            home = homes.get(placement.subject_id)
            return home is not None and home.epoch >= placement.epoch and home.state is not State.RESERVED

        await homes.wait_until(settled, wait_s=ACTIVE_S_MAX)
        home = homes.get(placement.subject_id)
        if home is None or home.epoch != placement.epoch or home.state is not State.ACTIVE:
            raise refuse(Code.CELL_BEHIND, "the new home is not confirmed yet; try again", retry_after_s=1)

    async def _record(self, decision: Decision, placed: PlacedAnswer) -> None:
        placement = placed.placement
        subject: SubjectId = placement.subject_id
        home = self._context.homes.get(subject)
        if home is None:
            raise refuse(Code.CELL_BEHIND, "the new home is not confirmed yet; try again", retry_after_s=1)
        event = Event(
            id=f"signup:{decision.id}",
            at=self._context.clock.unix_s(),
            kind=Kind.SIGNUP,
            actor=f"service:{decision.service}",
            subject_id=subject,
            details={
                "epoch": placement.epoch,
                "rules": decision.rules,
                "services": list(placement.services),
                "questions": list(placed.questions),
            },
        )
        await self._context.shard_of(home).record([event])
