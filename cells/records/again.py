"""Reads whose like came before (`cells.records.familiar`), understood by what is known of them: the decision is checked, home, limits and
fence are asked as for any other. What is not as it was then, or is to be refused, is the strict reading's."""

from cells.records.asking import Asked
from cells.records.core import Bound
from cells.records.familiar import Came, Familiar, apart, arguments
from cells.records.statements import Statement
from cells.service.context import Context
from directory.placement.core import State
from foundation.decision import Decision
from foundation.decision_header import DecisionRefused
from foundation.words import RECORDS, ActorId, Verb

ACTIVE, SIGNUP, READ = (
    State.ACTIVE,
    Verb.SIGNUP,
    Verb.READ,
)  # a member of an enum is looked up anew each time that it is named


class Again:
    """Over one cell's context. Nothing is refused or counted here."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.familiar = Familiar()

    def understood(self, one: Came) -> tuple[Asked, Statement] | None:
        """What it asks for, and the statement that answers it, as a strict reading would have them; None: read it."""
        context = self._context
        head = self.familiar.head_of(one, context.clock.monotonic_s())
        found = None if head is None else apart(one.query)
        if head is None or found is None:
            return None
        try:
            decision = context.verifier.verify_sent(one.decision, context.clock.unix_s(), service=RECORDS)
        except DecisionRefused:
            return None
        shape, operands = found
        plan = self.familiar.plan_of(head, one, shape, decision.purpose)
        subject = decision.subject
        if plan is None or subject is None or not self._holds(decision):
            return None
        home = context.homes.get(subject)
        if home is None or home.epoch != decision.epoch or home.state is not ACTIVE:
            return None
        shard = context.shards.get(home.shard)
        if shard is None or shard.up is None or not shard.up.tables.fits(plan.contract.table):
            return None
        bound = Bound(subject=subject, epoch=home.epoch, owner=subject, owner_only=plan.owner_only)
        asked = Asked(
            decision=decision,
            subject=subject,
            epoch=home.epoch,
            verb=READ,
            contract=plan.contract,
            shard=shard,
            known_as=plan.known_as,
            granted=plan.granted,
            bound=bound,
            query=plan.query_of(operands),
            page=plan.page,
            preferences=plan.preferences,
            media=plan.media,
            method="GET",
        )
        return asked, Statement(plan.sql, arguments(bound, operands) + plan.paged)

    def _holds(self, decision: Decision) -> bool:
        """Whether it is a person's own for themself, under the rules in force."""
        rules = self._context.rules.current
        return (
            decision.subject is not None
            and decision.actor == ActorId(decision.subject)
            and rules is not None
            and decision.rules == rules.digest
            and decision.verb is not SIGNUP
        )
