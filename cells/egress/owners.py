"""Whose events of a product service are: by whose law each goes, and what its owner says to the purpose, asked of this cell's shards."""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import asyncpg

from cells.egress.reading import consent_statement, merged
from cells.egress.treating import Nobody, Person, Whose
from cells.egress.worlds import DirectoryOrigins
from cells.records.contracts import Contract
from cells.service.context import Context
from cells.shards.core import Home
from directory.client.remote import DirectoryUnavailable
from directory.placement.core import State
from foundation.problems import Code, refuse
from foundation.words import MalformedWord, ShardId, SubjectId, Verb, parse_subject_id
from routing_rules.facts import SubjectFacts
from routing_rules.release import Consent


class Owners:
    """Over one cell's context. `_said_at_home`: whether there is a table in which people say it on their own shard, wherever
    rows lie of which they are owners."""

    def __init__(self, context: Context, contracts: Mapping[str, Contract]) -> None:
        self._context = context
        stated = [(one, consent_statement(one)) for one in contracts.values()]
        self._statements = [(one.table, sql, one.owner != one.placed_by) for one, sql in stated if sql is not None]
        """Of each table of consents; whether what people say lies in it with somebody else, so on any shard."""
        self._said_at_home = any(one.owner == one.placed_by for one, sql in stated if sql is not None)

    async def of(self, contract: Contract, columns: Mapping[str, Sequence[Any]], purpose: str) -> list[Whose]:
        """Of each event. None where the subject is not active here, or the directory does not say so. Raises ProblemError."""
        subjects = _subjects(columns[contract.placed_by])
        owners = subjects if contract.owner == contract.placed_by else _subjects(columns[contract.owner])
        homes = self._homes(subjects)
        facts = await self._facts(
            [one for one in dict.fromkeys(subjects) if one in homes and homes[one].state is State.ACTIVE]
        )
        pairs = dict.fromkeys(zip(subjects, owners, strict=True))
        going = [(subject, owner) for subject, owner in pairs if subject in facts and owner is not None]
        at_home = self._homes(owner for _, owner in going)
        asked: dict[ShardId, dict[SubjectId, None]] = {}
        for subject, owner in going:
            for home in (homes[subject], at_home.get(owner)):
                if home is not None:
                    asked.setdefault(home.shard, {})[owner] = None
        said = await self._said(asked, [owner for _, owner in going], purpose)
        unheard = await self._unheard([owner for _, owner in going if owner not in said], at_home)
        people = {pair: _whose(pair, facts, said, unheard) for pair in pairs}
        same = {one: one for one in people.values()}  # of whom the same is known, one object
        whose: dict[Any, Whose] = {pair: same[one] for pair, one in people.items()}
        return [whose[pair] for pair in zip(subjects, owners, strict=True)]

    @property
    def _origins(self) -> DirectoryOrigins:
        return DirectoryOrigins(self._context.directory, self._context.cell)

    async def _unheard(self, silent: Sequence[SubjectId], homes: Mapping[SubjectId, Home]) -> set[SubjectId]:
        """Of those of whom nothing was read, who may have said it where this cell does not read it: at a home elsewhere, or at one that is
        being moved. Whoever has no home said nothing at one. Raises ProblemError."""
        if not self._said_at_home:
            return set()
        away = {one for one in silent if one not in homes}
        leaving = {one for one in silent if one in homes and homes[one].state is not State.ACTIVE}
        try:
            return leaving | await self._origins.placed(list(away))
        except DirectoryUnavailable as exc:
            raise refuse(Code.NOT_READY, "the directory does not say where these owners live", retry_after_s=1) from exc

    def _homes(self, people: Iterable[SubjectId | None]) -> dict[SubjectId, Home]:
        """Of those who have one here. Raises ProblemError."""
        found = {one: self._context.known(one) for one in dict.fromkeys(people) if one is not None}
        return {one: home for one, home in found.items() if home is not None}

    async def _facts(self, active: Sequence[SubjectId]) -> dict[SubjectId, SubjectFacts]:
        try:
            return await self._origins.facts(active)
        except DirectoryUnavailable as exc:
            raise refuse(
                Code.NOT_READY, "the directory does not say whose law these persons are under", retry_after_s=1
            ) from exc

    async def _said(
        self, asked: Mapping[ShardId, Iterable[SubjectId]], everybody: Sequence[SubjectId], purpose: str
    ) -> dict[SubjectId, Consent]:
        """What these people said to the purpose: on the shards that `asked` names for each, or on all of them. Raises ProblemError where
        that cannot be read."""
        said: dict[SubjectId, Consent] = {}
        for table, sql, anywhere in self._statements:
            where = dict.fromkeys(self._context.shards, everybody) if anywhere and everybody else asked
            for shard, own in where.items():
                try:
                    rows = await self._context.shards[shard].fetch(
                        sql, (list(own), purpose), table=table, verb=Verb.READ
                    )
                except asyncpg.PostgresError as exc:
                    raise refuse(
                        Code.NOT_READY, "what people said to purposes cannot be read", retry_after_s=1
                    ) from exc
                said = merged(said, {SubjectId(str(row["person"])): row["given"] for row in rows})
        return said


def _whose(
    pair: tuple[SubjectId | None, SubjectId | None],
    facts: Mapping[SubjectId, SubjectFacts],
    said: Mapping[SubjectId, Consent],
    unheard: Container[SubjectId],
) -> Whose:
    subject, owner = pair
    if subject is None or subject not in facts:
        return None
    if owner is None:
        return Nobody.UNOWNED
    if owner in unheard:
        return Nobody.UNHEARD
    return Person(facts[subject], said.get(owner, Consent.UNSAID))


def _subjects(stated: Sequence[Any]) -> list[SubjectId | None]:
    """None for what is no subject id."""
    texts = dict.fromkeys(one for one in stated if isinstance(one, str))
    known = {one: _subject(one) for one in texts}
    return [known[one] if isinstance(one, str) else None for one in stated]


def _subject(text: str) -> SubjectId | None:
    try:
        return parse_subject_id(text)
    except MalformedWord:
        return None
