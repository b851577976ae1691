"""Intents to sign, certificates, their first use. Pure; called by `cells.breakglass.core.take` alone."""

import msgspec

from cells.breakglass.book import Book, Grant, Intent
from cells.breakglass.refusals import Refused, Why
from cells.breakglass.steps import Begun, Certified, Intended, Taken
from cells.breakglass.words import CERTIFICATES_MAX, GRANTED, MINUTE_US, Phase


def intended(book: Book, grant: Grant, phase: Phase, taken: Taken, step: Intended) -> Grant | Refused:
    if taken.by != grant.engineer:
        return Refused(Why.NOT_OWN)
    if phase not in GRANTED:
        return Refused(Why.PHASE)
    if len(grant.intents) >= CERTIFICATES_MAX:
        return Refused(Why.TOO_MANY)
    if step.serial in book.serials:
        return Refused(Why.SERIAL)
    if not (step.presence.inside or grant.emergency or grant.from_inside):
        return Refused(Why.OUTSIDE)
    until_us = taken.at_us + grant.terms.minutes * MINUTE_US if grant.until_us is None else grant.until_us
    if step.from_us > taken.at_us or not taken.at_us < step.until_us <= until_us:
        return Refused(Why.TIME_BOX)
    intent = Intent(
        serial=step.serial,
        key=step.key,
        shard=step.shard,
        presence=step.presence,
        from_us=step.from_us,
        until_us=step.until_us,
    )
    return msgspec.structs.replace(grant, intents=(*grant.intents, intent))


def certified(book: Book, grant: Grant, phase: Phase, taken: Taken, step: Certified) -> Grant | Refused:
    if phase not in GRANTED:
        return Refused(Why.PHASE)
    if grant.engineer in book.locks:
        return Refused(Why.LOCKED)
    intent = grant.intent(step.serial)
    if intent is None or intent.digest is not None:
        return Refused(Why.SERIAL)
    until_us = intent.until_us if grant.until_us is None else grant.until_us
    if taken.at_us >= intent.until_us or intent.until_us > until_us or not 0 <= step.index < step.size:
        return Refused(Why.TIME_BOX)
    signed = msgspec.structs.replace(intent, digest=step.digest, index=step.index, size=step.size, root=step.root)
    intents = tuple(signed if one.serial == step.serial else one for one in grant.intents)
    return msgspec.structs.replace(grant, intents=intents, until_us=until_us)


def begun(book: Book, grant: Grant, phase: Phase, taken: Taken, step: Begun) -> Grant | Refused:
    if phase is not Phase.CERTIFIED:
        return Refused(Why.PHASE)
    if grant.engineer in book.locks:
        return Refused(Why.LOCKED)
    intent = grant.intent(step.serial)
    if intent is None or intent.digest is None or taken.at_us >= intent.until_us:
        return Refused(Why.SERIAL)
    return msgspec.structs.replace(grant, begun_at_us=taken.at_us)
