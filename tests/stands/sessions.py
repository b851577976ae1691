"""A session at the SQL door as its certificate allows it, and its statements on the record."""

import asyncio

from cells.breakglass.door.ports import Ending, NotRun, Record, Session, Statement
from tests.stands.access import SUBJECT
from tests.stands.access_cell import AccessStand


async def certified_session(stand: AccessStand, session_id: str) -> Session:
    """Under a grant and a certificate of its own."""
    grant = await stand.approved()
    told = (await stand.certified(grant)).json()["told"]["grant"]
    intent = told["intents"][-1]
    return Session(
        id=session_id,
        grant=grant,
        engineer=told["engineer"],
        certificate=intent["serial"],
        purpose="debugging",
        ticket="OPS-7",
        shard="s1",
        inside=True,
        subjects=(SUBJECT,),
        expires_at=intent["until_us"] / 1_000_000,
    )


async def on_record(record: Record, statement: Statement) -> None:
    """Returns once it is durable and may still run. Raises NotRun."""
    told: asyncio.Future[Ending | None] = asyncio.get_running_loop().create_future()
    intent = record.intend(statement, told.set_result)
    try:
        why = await told
    except asyncio.CancelledError:
        intent.give_up()
        raise
    if why is not None:
        raise NotRun(why)
