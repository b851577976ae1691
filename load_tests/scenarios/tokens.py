"""Tokens of people, from the issuer of their region."""

from collections.abc import Generator

from load_tests.scenarios.person import TOKEN_LEFT_S, TOKEN_S, Person
from load_tests.scenarios.steps import Answer, Ask, Step


def mint(
    me: Person, region: str, sub: str, *, email: str | None = None, ttl_s: int = TOKEN_S
) -> Generator[Step, Answer, str]:
    """A token of the region's issuer, or '' where it gives none just now."""
    wanted = {"sub": sub, "email": email, "email_verified": email is not None, "ttl_s": ttl_s}
    answer = yield Ask(method="POST", url=f"{me.world.regions[region].issuer}/mint", json=wanted, quiet=True)
    document = answer.json() if answer.ok else None
    return str(document["access_token"]) if isinstance(document, dict) else ""


def token(me: Person, now: float) -> Generator[Step, Answer, str]:
    """One's own token, renewed before it runs out."""
    if now + TOKEN_LEFT_S > me.token_until:
        made = yield from mint(me, me.region, me.sub, email=me.email)
        if made:
            me.token, me.token_until = made, now + TOKEN_S
    return me.token
