"""Hops as this gateway sends and takes them: minted per direction, verified against the request they came with, each taken once."""

from collections.abc import Mapping

from foundation.clock import Clock
from foundation.hop_header import LIFETIME_S_MAX, Hop, HopMinter, HopRefused, HopVerifier, Ring, digest_of, new_nonce
from foundation.words import Country, RegionId, RulesDigest
from gateway.identity.tokens import bearer
from gateway.travel.nonces import Nonces, Told


class Hops:
    """One per gateway. `rings`: by peer region, the keyring that both hold; without one nothing goes there or is taken from there."""

    def __init__(
        self, here: RegionId, rings: Mapping[RegionId, Ring], clock: Clock, nonces: Nonces | None = None
    ) -> None:
        self.here = here
        self._clock = clock
        self._minters = {peer: HopMinter(here, peer, ring) for peer, ring in rings.items()}
        self._verifier = HopVerifier(here, rings)
        self._nonces = Nonces() if nonces is None else nonces

    def knows(self, region: RegionId) -> bool:
        return region in self._minters

    def mint(
        self,
        to: RegionId,
        *,
        method: str,
        target: bytes,
        authorization: bytes,
        scheme: str,
        host: str,
        country: Country | None,
        client: str | None,
        trace: str,
        rules: RulesDigest,
    ) -> str:
        """The header of one try, good for five seconds. Raises ValueError where it would be too long."""
        hop = Hop(
            origin=self.here,
            to=to,
            method=method,
            target=digest_of(target),
            token=_token_digest(authorization),
            scheme=scheme,
            host=host,
            country=country,
            client=client,
            nonce=new_nonce(),
            expires=self._clock.unix_s() + LIFETIME_S_MAX,
            trace=trace,
            rules=rules,
        )
        return self._minters[to].mint(hop)

    def take(self, header: bytes, *, method: str, target: bytes, authorization: bytes | None) -> Hop:
        """The hop that a request came by, from now on spent. Raises HopRefused (also: replayed, full)."""
        now = self._clock.unix_s()
        hop = self._verifier.verify(
            header.decode("latin-1"),
            now,
            method=method,
            target=digest_of(target),
            token=_token_digest(authorization or b""),
        )
        match self._nonces.tell(hop.origin, hop.nonce, hop.expires, now):
            case Told.NEW:
                return hop
            case Told.SEEN:
                raise HopRefused("replayed")
            case Told.FULL:
                raise HopRefused("full")


def _token_digest(authorization: bytes) -> str:
    """Of the bearer token itself, however the scheme was spelt."""
    return digest_of((bearer(authorization) or "").encode())
