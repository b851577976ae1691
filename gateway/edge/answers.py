"""What a service's answer says to the gateway, and what the client gets of its head. Pure."""

from collections.abc import Sequence

from foundation.problems import Code
from foundation.wire.head import StatusHead
from gateway.edge.headers import read_response
from gateway.edge.outcome import Admitted

Lines = list[tuple[bytes, bytes]]
_REFUSAL = b"domicile-refusal"
_CURABLE = {code.value.encode("ascii"): code for code in (Code.STALE_EPOCH, Code.CELL_BEHIND)}


def refusal_of(head: StatusHead) -> Code | None:
    """The service's refusal that another try may cure, or None. Only refusals carry it: never a success."""
    if head.status < 400:
        return None
    for name, value in head.fields:
        if name == _REFUSAL:
            return _CURABLE.get(value)
    return None


def stated(admitted: Admitted) -> Sequence[tuple[bytes, bytes]]:
    """What the client is told of the verdict; of somebody else's home, nothing."""
    if admitted.told:
        return admitted.told
    if admitted.viewer is not None:
        return [(b"domicile-verdict", b"serve")]
    lines = [
        (b"domicile-cell", admitted.cell.encode("ascii")),
        (b"domicile-verdict", b"serve" if admitted.crosses is None else b"hairpin"),
    ]
    if admitted.epoch is not None:
        lines.append((b"domicile-epoch", b"%d" % admitted.epoch))
    return lines


def stated_lines(admitted: Admitted) -> bytes:
    """The same as bytes."""
    return admitted.told_lines or b"".join([b"%b: %b\r\n" % line for line in stated(admitted)])


def client_fields(head: StatusHead, more: Sequence[tuple[bytes, bytes]], *, method: str) -> Lines:
    """The fields of the answer as the client gets them, with `more` of the gateway's own."""
    fields = read_response(head.fields, status=head.status, head_only=method == "HEAD")
    fields.extend(more)
    return fields
