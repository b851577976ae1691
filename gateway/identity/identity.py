"""Who a token speaks for, as lookup keys."""

import msgspec

from foundation.words import LookupKey


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """`login` keys under every live blinding key, newest first; `email` keys only where the issuer verified the address."""

    login: tuple[LookupKey, ...]
    email: tuple[LookupKey, ...]
    kids: tuple[str, ...]
    """Names of those blinding keys, in the same order."""
    until: float
    """Unix seconds at which this must be established anew."""
