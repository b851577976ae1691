"""A session at the SQL door as its certificate allows it."""

from cells.breakglass.door.ports import Session
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
