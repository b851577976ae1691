"""What a session is told when it ends, or does not begin."""

from cells.breakglass.door.frames import Error
from cells.breakglass.door.ports import Ending

_SHUT = "57P01"
USED_UP = "53400"
TOLD: dict[Ending, Error] = {
    Ending.EXPIRED: Error(_SHUT, "the grant has run out"),
    Ending.ENDED: Error(_SHUT, "the grant was ended"),
    Ending.LOCKED: Error(_SHUT, "this person is locked"),
    Ending.TICKET: Error(_SHUT, "the ticket is closed"),
    Ending.STALE: Error(_SHUT, "whether somebody is locked is not known just now"),
    Ending.NOT_RECORDED: Error("58030", "this cannot be put on the record just now, so it was not run"),
    Ending.SPENT: Error(USED_UP, "what this grant may put on the record is used up"),
    Ending.WALL: Error("57P03", "the shard's wall cannot be vouched for just now"),
    Ending.UNKNOWN: Error(_SHUT, "this session is not known any more"),
}
LEAVING = Error(_SHUT, "the door is closing")
LOST = Error("08P01", "what the shard answers cannot be told apart any more")
SHARD_LEFT = Error("08006", "the shard ended the session")
TLS_ONLY = Error(
    "28000", "this door takes TLS and a certificate", "connect with sslmode=verify-full, sslcert and sslkey"
)
UNTOLD = Error(
    USED_UP,
    "what this grant has shown is not known since the process of its last session ended",
    "ask for another grant",
)
TOO_MANY = Error("53300", "as many sessions are open as may be")
LATE = Error("57014", "the session did not begin in time")
BROKEN = Error("XX000", "something broke here")
