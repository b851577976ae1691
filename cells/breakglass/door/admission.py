"""Who a certificate lets in: its grant and place as the ledger has them, as a session."""

import secrets

from cells.breakglass.certificates.check import CertificateRefused
from cells.breakglass.door.frames import Error, Malformed
from cells.breakglass.door.ports import Session
from cells.breakglass.issuing import Issuing
from cells.breakglass.words import SECOND_US
from foundation.problems import ProblemError


class Admission:
    """One cell's."""

    def __init__(self, issuing: Issuing) -> None:
        self._issuing = issuing

    async def admitted(self, certificate: bytes) -> Session:
        """A session under a certificate (DER) whose key the other side holds. The first makes its grant active. Raises Malformed."""
        try:
            grant, intent = await self._issuing.shown(certificate)
        except CertificateRefused as exc:
            raise Malformed(Error("28000", f"the certificate opens nothing: {exc.flaw.value}")) from exc
        except ProblemError as exc:
            raise Malformed(Error("57P03", exc.problem.detail)) from exc
        return Session(
            id=secrets.token_hex(16),
            grant=grant.id,
            engineer=grant.engineer,
            certificate=intent.serial,
            purpose=grant.terms.purpose.value,
            ticket=grant.terms.ticket,
            shard=intent.shard,
            inside=intent.presence.inside,
            subjects=grant.terms.subjects,
            expires_at=intent.until_us / SECOND_US,
        )
