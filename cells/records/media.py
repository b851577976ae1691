"""Media types of requests and answers. Pure. https://docs.postgrest.org/en/v13/references/api/resource_representation.html"""

import msgspec

from cells.records import errors

JSON = "application/json"
OBJECT = "application/vnd.pgrst.object+json"
ARRAY = "application/vnd.pgrst.array+json"
_ANY = frozenset({"*/*", "application/*"})
_OLDER_OBJECT = "application/vnd.pgrst.object"


class Media(msgspec.Struct, frozen=True, kw_only=True):
    """How rows come back: `single` as one object and an error for any other number, `stripped` without members that are null."""

    single: bool = False
    stripped: bool = False

    @property
    def content_type(self) -> str:
        name = OBJECT if self.single else ARRAY if self.stripped else JSON
        return f"{name}{';nulls=stripped' if self.stripped else ''}; charset=utf-8"


def accepted(header: str) -> Media:
    """The first type of an Accept header that can be answered (weights are not compared). Raises ProblemError."""
    for item in header.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        stripped = any(parameter.replace(" ", "") == "nulls=stripped" for parameter in parameters)
        if name in _ANY or name in ("", JSON):
            return Media()
        if name in (OBJECT, _OLDER_OBJECT):
            return Media(single=True, stripped=stripped)
        if name == ARRAY:
            return Media(stripped=stripped)
    raise errors.dialect(errors.MEDIA, "only JSON is answered here", hint=f"Accept: {JSON}, {OBJECT} or {ARRAY}")


def check_sent(header: str) -> None:
    """A body is JSON. Raises ProblemError."""
    if header.partition(";")[0].strip().lower() != JSON:
        raise errors.dialect(errors.BODY, f"Content-Type is {JSON} here")
