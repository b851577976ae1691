"""A stream of events: every one is treated once, however it is cut and how slowly it comes, in memory that is bounded by a batch."""

import json
from collections.abc import Sequence
from typing import Any

import anyio
import msgspec
import pytest
from starlette.types import Message

from cells.egress import streams, timely
from cells.egress.asking import EgressAnswer
from cells.egress.streams import Streamed, Streams
from foundation.problems import Code, ProblemError, refuse

pytestmark = pytest.mark.anyio


class Client:
    """Sends these pieces, None: nothing until everything before it is answered; takes answers until it has `taken_max` of them."""

    def __init__(self, pieces: Sequence[bytes | None], *, taken_max: int = 1_000_000) -> None:
        self._pieces = list(pieces)
        self._taken_max = taken_max
        self.sent = 0
        self.answers: list[dict[str, Any]] = []
        self.whole = False

    async def receive(self) -> Message:
        while self._pieces and self._pieces[0] is None:
            answered = sum(len(one["batch"]["events"]) for one in self.answers if "batch" in one)
            if answered >= self.sent:
                self._pieces.pop(0)
            else:
                await anyio.sleep_forever()
        if not self._pieces:
            return {"type": "http.request", "body": b"", "more_body": False}
        piece = self._pieces.pop(0) or b""
        self.sent += piece.count(b"\n")
        return {"type": "http.request", "body": piece, "more_body": True}

    async def send(self, message: Message) -> None:
        if message["type"] != "http.response.body":
            return
        if len(self.answers) >= self._taken_max:
            await anyio.sleep_forever()
        self.answers += [json.loads(line) for line in message["body"].splitlines()]
        self.whole = not message["more_body"]

    async def ran(self, treat: Any, open_now: Streams | None = None) -> list[dict[str, Any]]:
        await Streamed(treat, open_now or Streams())({"type": "http"}, self.receive, self.send)
        return self.answers


class Treating:
    """Lets everything pass but what is odd. `sizes`: events of each batch."""

    def __init__(self, *, refuses_after: int = 1_000_000) -> None:
        self.sizes: list[int] = []
        self._refuses_after = refuses_after

    async def __call__(self, events: list[dict[str, Any]]) -> EgressAnswer:
        if len(self.sizes) >= self._refuses_after:
            raise refuse(Code.UNAUTHENTICATED, "the token has expired")
        self.sizes.append(len(events))
        kept = [one for one in events if one["n"] % 2 == 0]
        odd = len(events) - len(kept)
        return EgressAnswer(
            release=f"release:{len(self.sizes)}",
            events=kept,
            stayed={"odd": odd} if odd else {},
            duties=(),
            counts={"n": {"passed": len(kept)}},
            held=(),
        )


def lines(count: int) -> bytes:
    return b"".join(msgspec.json.encode({"n": number}) + b"\n" for number in range(count))


def left(answers: Sequence[dict[str, Any]]) -> list[int]:
    return [one["n"] for answer in answers if "batch" in answer for one in answer["batch"]["events"]]


@pytest.mark.parametrize("cut", [1, 7, 1_000, 65_536])
async def test_every_event_is_treated_once_however_the_stream_is_cut(cut: int) -> None:
    raw, treating = lines(2_500), Treating()
    answers = await Client([raw[at : at + cut] for at in range(0, len(raw), cut)]).ran(treating)
    assert left(answers) == list(range(0, 2_500, 2))
    assert max(treating.sizes) <= streams.EVENTS_MAX
    assert sum(treating.sizes) == 2_500
    end = answers[-1]["end"]
    assert (end["events"], end["stayed"], end["batches"]) == (1_250, {"odd": 1_250}, len(treating.sizes))
    assert end["counts"] == {"n": {"passed": 1_250}}


async def test_the_last_line_needs_no_end_and_lines_that_are_no_objects_are_counted_and_stay() -> None:
    raw = b'{"n": 2}\n\n[1]\n{"n": 4\n\xff\n"n"\n{"n": 6}'
    answers = await Client([raw]).ran(Treating())
    assert left(answers) == [2, 6]
    assert answers[-1]["end"]["unreadable"] == 4


async def test_what_is_sent_slowly_is_answered_before_more_of_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BATCH_S_MAX", 0.05)
    treating = Treating()
    answers = await Client([b'{"n": 2}\n', None, b'{"n": 4}\n', None, b'{"n": 6}\n']).ran(treating)
    assert (left(answers), treating.sizes) == ([2, 4, 6], [1, 1, 1])


async def test_nothing_more_is_read_than_a_batch_before_its_answer_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timely, "ANSWER_S_MAX", 0.05)
    piece = lines(1_000)
    client = Client([piece] * 1_000, taken_max=3)
    answers = await client.ran(Treating())
    assert (len(answers), client.whole) == (3, False)
    assert client.sent <= 5 * 1_000


async def test_a_line_without_end_breaks_the_stream_off_before_it_fills_the_memory() -> None:
    client = Client([b'{"n": 2}\n', *([b"x" * 65_536] * 1_000)])
    answers = await client.ran(Treating())
    assert left(answers) == [2]
    assert answers[-1]["problem"]["code"] == "too_large"


async def test_a_stream_that_breaks_off_says_why_and_has_no_end() -> None:
    answers = await Client([lines(1_000)] * 5).ran(Treating(refuses_after=2))
    assert [list(one) for one in answers] == [["batch"], ["batch"], ["problem"]]
    assert answers[-1]["problem"]["detail"] == "the token has expired"


async def test_streams_beyond_those_that_may_be_under_way_are_refused_and_others_after_they_ended() -> None:
    open_now = Streams()
    open_now.open = streams.STREAMS_MAX
    with pytest.raises(ProblemError, match="streams are under way"):
        Streamed(Treating(), open_now)
    open_now.open = 0
    await Client([b'{"n": 2}\n']).ran(Treating(), open_now)
    assert open_now.open == 0


async def test_a_client_that_leaves_ends_its_stream() -> None:
    open_now = Streams()

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    client = Client([])
    await Streamed(Treating(), open_now)({"type": "http"}, gone, client.send)
    assert (client.answers, client.whole, open_now.open) == ([], False, 0)
