"""The statement that a request becomes: what its head asks for and its body holds, within what its caller may. No I/O."""

import msgspec

from cells.records import body, single
from cells.records.asking import Asked
from cells.records.ranges import Page
from cells.records.statements import Builder, Statement
from cells.records.streams import BUFFERED_ROWS_MAX
from cells.records.texts import Texts


class Making:
    """Makes statements; remembers the text of reads by their shape."""

    def __init__(self) -> None:
        self._texts = Texts()

    def statement(self, asked: Asked, raw: bytes) -> Statement:
        """`raw`: the body. Raises ProblemError."""
        query, preferences = asked.query, asked.preferences
        granted = asked.contract, asked.granted, asked.bound
        columns, defaults, returned = query.columns, preferences.defaults, preferences.returned
        match asked.method:
            case "POST":
                rows = body.inserted(raw, *granted, columns=columns, defaults=defaults)
                return _builder(asked).insert(rows, query, returned, preferences.resolution)
            case "PATCH":
                changes = body.changed(raw, *granted, columns=columns, defaults=defaults)
                return _builder(asked).update(changes, query, returned)
            case "PUT":
                key = single.key_of(query, asked.contract, asked.bound)
                row = body.replaced(raw, *granted, key=key, defaults=defaults)
                return _builder(asked).put(row, key, query, returned)
            case "DELETE":
                return _builder(asked).delete(query, returned)
            case "HEAD":
                return _builder(asked).count(query)
            case _:
                return self._read(asked)

    def _read(self, asked: Asked) -> Statement:
        """Of a GET. Raises ProblemError."""
        # A second row is enough to know that there is not one; how many there are is counted.
        # Likewise one row more than is held tells that there are many: those are then read anew, as a stream.
        page, single = asked.page, asked.media.single
        most = 2 if single else BUFFERED_ROWS_MAX + 1
        some = page if page.limit <= most else Page(offset=page.offset, limit=most)
        counted = asked.preferences.counted or single
        return self._texts.read(asked.known_as, _builder(asked), asked.query, some, counted=counted)


def streamed(asked: Asked) -> Statement:
    """Of a GET whose rows are too many or too long to be held. Raises ProblemError."""
    # What is counted says whether the first row is the only one.
    some = msgspec.structs.replace(asked.page, limit=1) if asked.media.single else asked.page
    return _builder(asked).read(asked.query, some, counted=True, held=False)


def _builder(asked: Asked) -> Builder:
    return Builder(asked.contract, asked.granted, asked.bound, stripped=asked.media.stripped)
