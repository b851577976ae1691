"""What somebody is told whom no token identifies. Pure."""

from typing import assert_never

from foundation.problems import Code, Problem
from gateway.identity.tokens import Unidentified

RETRY_AFTER_S = 1


def unidentified(why: Unidentified) -> Problem:
    match why:
        case Unidentified.NO_TOKEN:
            return Problem(code=Code.UNAUTHENTICATED, detail="send Authorization: Bearer with a token")
        case Unidentified.MALFORMED:
            return Problem(code=Code.MALFORMED_TOKEN, detail="the Authorization header holds no bearer token")
        case Unidentified.REFUSED:
            return Problem(code=Code.UNAUTHENTICATED, detail="the token is refused or has run out")
        case Unidentified.KEYS_UNAVAILABLE:
            return Problem(
                code=Code.NOT_READY, detail="the token's issuer cannot be asked", retry_after_s=RETRY_AFTER_S
            )
        case _:
            assert_never(why)


def challenge(why: Unidentified) -> str:
    """`WWW-Authenticate` of a 401 (RFC 6750 section 3): no error code where no credential was sent."""
    match why:
        case Unidentified.MALFORMED:
            return 'Bearer error="invalid_request"'
        case Unidentified.REFUSED:
            return 'Bearer error="invalid_token"'
        case _:
            return "Bearer"
