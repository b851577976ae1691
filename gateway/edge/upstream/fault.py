"""How an exchange with a service, or with another region, fails."""

import enum


class Fault(enum.Enum):
    """How an exchange failed."""

    BUSY = "busy"
    OPEN = "open"
    CONNECT = "connect"
    RESET = "reset"
    PROTOCOL = "protocol"
    TIMEOUT = "timeout"
    CLIENT_GONE = "client_gone"
    CLIENT_STALLED = "client_stalled"
    TOO_LARGE = "too_large"
    """The client's body."""
    OUTDATED = "outdated"
    """The subject's home has changed, or might have: `gateway.edge.lasting`."""


class UpstreamFailed(Exception):
    """The exchange broke, or was not begun (BUSY, OPEN, CONNECT). `answered`: whether anything of an answer had arrived. `wait_s`: with
    OPEN, how long nobody may ask."""

    def __init__(self, fault: Fault, *, answered: bool = False, wait_s: float = 0.0) -> None:
        super().__init__(f"upstream: {fault.value}")
        self.fault = fault
        self.answered = answered
        self.wait_s = wait_s
