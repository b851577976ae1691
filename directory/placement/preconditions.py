"""`If-Match` (RFC 9110 section 13.1.1) over epochs: a subject's entity tag is its epoch in quotes. Pure."""

import re

from foundation.problems import Code, refuse
from foundation.words import Epoch, parse_epoch

_TAG = re.compile(r'"([0-9]{1,19})"\Z')
_HEADER_CHARS_MAX = 256


def etag(epoch: Epoch) -> str:
    return f'"{epoch}"'


def epoch_held(if_match: str | None, in_body: int | None) -> Epoch:
    """The epoch that a caller holds, from the header, the body, or both when they agree.

    Raises ProblemError or MalformedWord: neither is given, they differ, or the header is anything but one strong epoch tag. `*` would make
    the change unconditional, weak tags never match (section 13.1.1), and a list of epochs is no epoch that somebody holds.
    """
    if if_match is None:
        if in_body is None:
            raise refuse(Code.BAD_REQUEST, 'state the epoch that you hold: "epoch" in the body, or If-Match')
        return parse_epoch(in_body)
    match = _TAG.match(if_match.strip()) if len(if_match) <= _HEADER_CHARS_MAX else None
    if match is None:
        raise refuse(Code.BAD_REQUEST, 'If-Match is one strong entity tag with an epoch, such as "42"')
    held = parse_epoch(int(match[1]))
    if in_body is not None and in_body != held:
        raise refuse(Code.BAD_REQUEST, "If-Match and the body name different epochs")
    return held
