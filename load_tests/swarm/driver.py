"""Plays an action for one locust user: sends what it asks for, hands back what came. Imported under gevent only."""

from pathlib import Path
from typing import Any

import gevent
import msgspec
from locust.contrib.fasthttp import FastHttpSession, LocustBadStatusCode, ResponseContextManager

from foundation.clock import SystemClock
from load_tests.scenarios.person import Person
from load_tests.scenarios.steps import Answer, Ask, Pause, Play, Step, Together
from load_tests.swarm.head import send_head

ANSWER_S_MAX = 20.0
_CLOCK = SystemClock()


def play(action: Play, name: str, me: Person, session: FastHttpSession) -> None:
    """Until the action has ended."""
    step = _next(action, None)
    while step is not None:
        match step:
            case Pause(seconds):
                gevent.sleep(seconds)
                step = _next(action, None)
            case Together(asks):
                jobs = [gevent.spawn(send, ask, session, name) for ask in asks]
                gevent.joinall(jobs, timeout=2 * ANSWER_S_MAX)
                answers = [job.value or Answer(at=_CLOCK.unix_s(), ms=0.0, status=0) for job in jobs]
                step = _next(action, answers)
            case Ask(head_only=True):
                step = _next(action, send_head(step))
            case Ask(quiet=True):
                step = _next(action, send(step, session, "token"))
            case Ask():
                step = _send_judged(step, action, session, f"{name} {me.country}", me)


def _next(action: Play, found: Any) -> Step | None:
    try:
        return action.send(found)
    except StopIteration:
        return None


def _send_judged(ask: Ask, action: Play, session: FastHttpSession, name: str, me: Person) -> Step | None:
    """Sends, and lets the action judge before locust counts the answer: a violation is a failure of it, an expected refusal none."""
    with session.request(**_words(ask, name), catch_response=True) as response:
        answer = answer_of(response)
        me.found, me.fine = (), False
        step = _next(action, answer)
        if me.found:
            response.failure(me.words())
        elif me.fine:
            response.success()
        else:
            response.failure(f"{answer.status} {answer.code or ''}".strip())
    return step


def send(ask: Ask, session: FastHttpSession, name: str) -> Answer:
    """One request whose answer somebody else judges."""
    with session.request(**_words(ask, name), catch_response=True) as response:
        answer = answer_of(response)
        if answer.status:
            response.success()
        else:
            response.failure("no_answer")
    return answer


def _words(ask: Ask, name: str) -> dict[str, Any]:
    headers = dict(ask.headers)
    token = ask.bearer(lambda path: Path(path).read_text(encoding="ascii"))
    if token:
        headers["authorization"] = f"Bearer {token}"
    if ask.json is not None:
        headers["content-type"] = "application/json"
    data = None if ask.json is None else msgspec.json.encode(ask.json)
    return {
        "method": ask.method,
        "url": ask.url,
        "headers": headers,
        "data": data,
        "name": name,
    }


def answer_of(response: ResponseContextManager) -> Answer:
    """What came back; a body that broke off makes the answer not whole."""
    meta = response.request_meta
    headers: Any = response.headers or {}
    try:
        body, whole = response.content or b"", _unbroken(getattr(response, "error", None))
    except Exception:  # noqa: BLE001 - whatever breaks while reading is a broken answer
        body, whole = b"", False
    return Answer(
        at=meta["start_time"],
        ms=meta["response_time"],
        status=(response.status_code or 0) if whole else 0,
        headers={name.lower(): value for name, value in headers.items()},
        body=body,
        whole=whole,
    )


def _unbroken(error: object) -> bool:
    """Locust calls an answer's status an error, too; what broke is the rest."""
    return error is None or isinstance(error, LocustBadStatusCode)
