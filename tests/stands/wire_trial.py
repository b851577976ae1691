"""One client's script through the door's core to the small Postgres of `wire_model`, in an order of events by chance."""

import random
from collections import deque

from cells.breakglass.door.answering import Answering
from cells.breakglass.door.answers import Answers, Budget
from cells.breakglass.door.asking import Asking, Intend, Limits, Send, Step, Wait
from cells.breakglass.door.frames import FLUSH
from cells.breakglass.door.ports import Outcome, Statement
from cells.breakglass.door.state import State
from tests.stands.wire_model import Backend, Script


class Broken(AssertionError):
    """A promise of the door did not hold."""


class Trial:
    """`run` to the end, then `judge`."""

    def __init__(self, seed: int, *, length: int = 24) -> None:
        self._chance = random.Random(seed)
        self.sql_names = seed % 2 == 0
        script = Script(self._chance, sql_names=self.sql_names)
        self.messages = script.messages(1 + self._chance.randrange(length))
        self.backend = Backend()
        self.shown: list[bytes] = []
        self.intended: dict[int, Statement] = {}
        self.outcomes: list[Outcome] = []
        self._state = State()
        self._asking = Asking("s", self._state, Limits(), "nobody-knows")
        self._answers = Answers(Answering(self._state), Budget(10**9, 10**9))
        self._inbox = deque(self.messages)
        self._read = 0
        self._waits: Step | None = None
        self._seen, self._touched = 0, 0

    def run(self) -> None:
        while actions := self._possible():
            self._chance.choice(actions)()
        if self._inbox or self._waits is not None or self._state.busy:
            raise Broken("the session stands still before its end")
        self._state.abandon("08006")
        self.outcomes += self._state.outcomes()

    def _possible(self) -> list:  # type: ignore[type-arg]
        found = []
        if isinstance(self._waits, Intend):
            found.append(self._recorded)
        elif self._waits is None and self._inbox:
            found.append(self._take)
        if self.backend.inbox:
            found.append(self._postgres)
        if self._read < len(self.backend.sent):
            found.append(self._answer)
        return found

    def _take(self) -> None:
        self._did(self._asking.take(self._inbox[0]))

    def _recorded(self) -> None:
        if not isinstance(self._waits, Intend):
            raise Broken("nothing was to be recorded")
        stated = self._waits.statement
        if stated.number in self.intended:
            raise Broken("a number that was given before")
        self.intended[stated.number] = stated
        self._waits = None
        self._did(self._asking.recorded())

    def _did(self, step: Step) -> None:
        match step:
            case Wait(flush):
                self._waits = step
                if flush:
                    self.backend.hear(FLUSH)
                return
            case Intend():
                self._waits = step
                return
            case Send(data):
                self.backend.hear(data)
            case _:
                pass
        self._inbox.popleft()

    def _postgres(self) -> None:
        self.backend.step()
        stated = [(one.text, one.parameters) for one in self.intended.values() if one.kind != "prepared"]
        for run in list(self.backend.ran.values())[self._seen :]:
            if (run.text, run.parameters) not in stated:
                raise Broken(f"{run} ran and was not intended")
        self._seen = len(self.backend.ran)
        for portal in self.backend.touched[self._touched :]:
            if portal.by_message and (portal.text, portal.parameters) not in stated:
                raise Broken(f"{portal} was fetched from and not intended")
        self._touched = len(self.backend.touched)

    def _answer(self) -> None:
        size = self._chance.choice((1, 3, 7, 20, 1000))
        piece = bytes(self.backend.sent[self._read : self._read + size])
        self._read += len(piece)
        self._answers.feed(piece, self.shown)
        self.outcomes += self._state.outcomes()
        if isinstance(self._waits, Wait):
            self._waits = None

    # --- the judgement -------------------------------------------------------------------------------------------------------

    def judge(self) -> None:
        """Every intended statement has one outcome, and it is that of the run that the tag or code was given to."""
        told = [one.number for one in self.outcomes]
        if sorted(told) != sorted(self.intended):
            raise Broken(f"outcomes of {sorted(told)}, of {sorted(self.intended)} that were intended")
        for outcome in self.outcomes:
            for name in (*outcome.tag.split("; "), outcome.error):
                run = self.backend.ran.get(name) if any(char.isdigit() for char in name) else None
                stated = self.intended[outcome.number]
                if run is not None and (run.text, run.parameters) != (stated.text, stated.parameters):
                    raise Broken(f"{name} is told of {stated}, and was {run}")
                if run is not None and name.startswith("SELECT") and run.by == "E" and len(outcome.columns) > 1:
                    raise Broken("columns of another run")
        if not self.sql_names:
            self._transparent()

    def _transparent(self) -> None:
        """Where no name is given by SQL, the client sees what it would see without a door."""
        direct = Backend()
        for message in self.messages:
            direct.hear(message)
        while direct.inbox:
            direct.step()
        through, plain = _told(b"".join(self.shown)), _told(bytes(direct.sent))
        if through != plain:
            raise Broken(f"the client saw {through} instead of {plain}")


def _told(stream: bytes) -> list[bytes]:
    """Messages; of errors, the code alone."""
    found, at = [], 0
    while at < len(stream):
        end = at + 1 + int.from_bytes(stream[at + 1 : at + 5], "big")
        raw = stream[at:end]
        found.append(raw if raw[:1] != b"E" else b"E" + raw[raw.index(b"\0C") + 2 :][:5])
        at = end
    return found
