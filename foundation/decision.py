"""What a gateway decided, as a value, and the keys that it is signed under: `foundation.decision_header` writes and reads it."""

import msgspec

from foundation.mute import Secret
from foundation.words import ActorId, CellId, Country, Epoch, LookupKey, RulesDigest, ServiceId, SubjectId, Verb


class ProvenKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """A lookup key that a person's token proves control of, of which kind it is (`foundation.blinding.LOGIN`, `EMAIL`), and the name of
    the blinding key that it was made under."""

    kind: str
    key: LookupKey
    kid: str | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What was decided for one request. Sent inside the deciding region only; holds no personal data.

    `subject` is None on sign-up, and then `keys` are what the token proves (the login under each live blinding key, then verified aliases)
    and `residence`, `subdivision` and `citizenships` (None: not stated) are what the person declared, `observed` the country that the
    address points at. What is not stated takes no room in the header. `expires` is unix seconds. `id` is unique, for the record; a
    decision is not single-use.
    """

    cell: CellId
    service: ServiceId
    subject: SubjectId | None
    actor: ActorId | None
    epoch: Epoch | None
    verb: Verb
    purpose: str
    rules: RulesDigest
    expires: float
    id: str
    keys: tuple[ProvenKey, ...] = ()
    residence: Country | None = None
    subdivision: str | None = None
    citizenships: tuple[Country, ...] | None = None
    observed: Country | None = None


class RootKey(msgspec.Struct, frozen=True):
    """A parent key of one generation: the region's (gateways) or a cell's (cell service)."""

    kid: str
    key: Secret[bytes]
