"""`Max-Forwards`: how often a request to OPTIONS may still be passed on (RFC 9110 section 7.6.2). Pure.

TRACE, the other method that it bounds, is passed on by nobody here.
"""

from gateway.edge.headers import RequestFields

METHOD = "OPTIONS"
NAME = b"max-forwards"
DIGITS_MAX = 15


def passed_on(fields: RequestFields) -> bool:
    """Takes one from what a request to OPTIONS has left. False: it had nothing, or nobody can say what, so it goes no further."""
    stated = [line for line in fields.kept if line.partition(b":")[0] == NAME]
    if not stated:
        return True
    value = stated[0][len(NAME) + 2 : -2]
    left = int(value) if len(stated) == 1 and value.isdigit() and len(value) <= DIGITS_MAX else 0
    if left:
        fields.kept = [*(line for line in fields.kept if line is not stated[0]), b"%b: %d\r\n" % (NAME, left - 1)]
    return bool(left)
