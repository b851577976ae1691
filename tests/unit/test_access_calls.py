"""Calls of `/access`: request, approval, certificate, check, revocation, and who is refused what."""

import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cells.breakglass import issuing
from cells.breakglass.exceptions import ExceptionText, signed
from cells.breakglass.keeper import Keeper
from cells.breakglass.metrics import observe
from cells.breakglass.replay import fold
from cells.breakglass.settings import Tickets
from cells.breakglass.steps import Closed, Locked, Terms
from cells.breakglass.store import Row
from cells.breakglass.words import GrantId, Purpose, Rule, engineer_of
from cells.settings import CellSettings
from foundation.ledger import payloads
from foundation.ledger.beside import payload
from foundation.ledger.notes import Signer
from foundation.mute import Secret
from foundation.problems import ProblemError
from foundation.settings import SettingsError
from tests.stands.access import CELL, SUBJECT
from tests.stands.access_cell import FAR, OTHER, OWNER, AccessStand, access_stand, reason, terms
from tests.stands.ledger import reader

pytestmark = pytest.mark.anyio
HOUR_S = 3600


@pytest.fixture
async def stand(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AccessStand]:
    async with access_stand(folder, monkeypatch) as built:
        yield built


async def test_a_request_becomes_a_certificate_that_opens_until_it_is_revoked(stand: AccessStand) -> None:
    grant = await stand.asked()
    approved = await stand.post(f"grants/{grant}/approve", stand.who("bob", "approver"), {"version": 1})
    assert (approved.status_code, approved.json()["phase"]) == (200, "approved")
    issued = await stand.certified(grant)
    assert issued.status_code == 201, issued.text
    assert issued.json()["told"]["phase"] == "certified"
    certificate = {"certificate": issued.json()["certificate"]}
    for _ in range(2):
        checked = await stand.post("check", stand.who("alice"), certificate)
        assert (checked.status_code, checked.json()["told"]["phase"]) == (200, "active")
        assert checked.json()["shard"] == "s1"
    revoked = await stand.post(f"grants/{grant}/revoke", stand.who("bob", "approver"), {"reason": "found it"})
    assert (revoked.status_code, revoked.json()["phase"]) == (200, "revoked")
    assert reason(await stand.post("check", stand.who("alice"), certificate)) == (403, "ended")
    assert [row.id for row in stand.steps.kept] == [f"grant:{grant}:{number}" for number in range(6)]


async def test_nothing_is_signed_without_a_proof_and_what_was_intended_is_on_the_record(
    stand: AccessStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuing, "STANDING_S_MAX", 0.3)
    stand.steps.flows = False
    grant = await stand.approved()
    refused = await stand.certified(grant)
    assert reason(refused) == (503, "no_proof")
    assert "certificate" not in refused.json()
    assert type(stand.steps.kept[-1].taken.step).__name__ == "Intended"
    stand.steps.flows = True
    stand.steps.drain()
    assert (await stand.certified(grant)).status_code == 201


async def test_a_log_that_another_key_signed_is_no_proof(stand: AccessStand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuing, "STANDING_S_MAX", 0.3)
    other = Signer("ledger.test/log", Secret(b"x" * 32))
    monkeypatch.setattr(stand.access.calls._issuing, "_log_key", other.verifier)
    assert reason(await stand.certified(await stand.approved())) == (503, "no_proof")


async def test_the_certificate_names_the_entry_of_the_approval_in_the_log(stand: AccessStand, folder: Path) -> None:
    grant = await stand.approved()
    issued = (await stand.certified(grant)).json()["told"]["grant"]["intents"][0]
    log = reader(folder / "log")
    found = log.find(f"grant:{grant}:1")
    assert found is not None
    assert (found.index, issued["index"]) == (1, 1)
    assert re.fullmatch("[0-9a-f]{64}", issued["root"])
    held = payload(folder / "log", found)
    assert held is not None
    assert (held.actor, b'"step":"approved"' in bytes(held.details).replace(b" ", b"")) == ("engineer:bob", True)


async def test_a_grant_of_which_nobody_says_how_long_ends_after_a_quarter_of_an_hour(stand: AccessStand) -> None:
    unsaid = {name: value for name, value in terms().items() if name != "minutes"}
    asked = await stand.post("grants", stand.who("alice"), {"terms": unsaid})
    assert asked.status_code == 201, asked.text
    grant = asked.json()["grant"]["id"]
    await stand.post(f"grants/{grant}/approve", stand.who("bob", "approver"), {"version": 1})
    issued = await stand.certified(grant)
    stand.clock.advance(15 * 60 - 1)
    body = {"certificate": issued.json()["certificate"]}
    assert (await stand.post("check", stand.who("alice"), body)).status_code == 200
    stand.clock.advance(2)
    assert reason(await stand.post("check", stand.who("alice"), body)) == (403, "run_out")
    assert (await stand.get(f"grants/{grant}", stand.who("alice"))).json()["phase"] == "expired"
    assert reason(await stand.certified(grant)) == (409, "phase")


MAY_NOT: tuple[tuple[dict[str, Any], tuple[int, str]], ...] = (
    ({"ticket": "OPS-8"}, (409, "ticket")),
    ({"subjects": ["3c5b2e7f-52b1-4c59-9a35-0a2f6a1d3c77"]}, (404, "subjects")),
    ({"subjects": [SUBJECT, SUBJECT]}, (400, "bounds")),
    ({"minutes": 61}, (400, "bounds")),
    ({"minutes": 0}, (400, "bounds")),
    ({"purpose": "curiosity"}, (400, "")),
    ({"subjects": []}, (400, "")),
    ({"subjects": ["nobody"]}, (400, "")),
    ({"reason": ""}, (400, "")),
    ({"more": 1}, (400, "")),
)


async def test_what_may_not_be_asked_for_leaves_nothing(stand: AccessStand) -> None:
    for changes, expected in MAY_NOT:
        answer = await stand.post("grants", stand.who("alice"), {"terms": terms(**changes)})
        assert (changes, reason(answer)) == (changes, expected)
    assert stand.steps.kept == []


async def test_a_tracker_that_cannot_be_asked_grants_nothing(stand: AccessStand) -> None:
    grant = await stand.approved()
    stand.tickets.write_text("{")
    assert (await stand.certified(grant)).status_code == 503
    stand.ticket("OPS-7", "closed")
    assert reason(await stand.certified(grant)) == (409, "ticket")


async def test_who_may_not_approve(stand: AccessStand) -> None:
    grant = await stand.asked(stand.who("alice", "engineer", "approver"))
    path, body = f"grants/{grant}/approve", {"version": 1}
    own = await stand.post(path, stand.who("alice", "engineer", "approver"), body)
    assert (own.status_code, own.json()["rules"]) == (403, ["nobody-decides-about-their-own"])
    assert reason(await stand.post(path, stand.who("eve", "auditor"), body))[0] == 403
    assert reason(await stand.post(path, stand.who("bob", "approver"), {"version": 2})) == (412, "version")
    assert reason(await stand.post(f"grants/{'0' * 32}/approve", stand.who("bob", "approver"), body)) == (
        404,
        "unknown",
    )
    assert (await stand.post("grants/x/approve", stand.who("bob", "approver"), body)).status_code == 400
    assert (await stand.get(f"grants/{grant}", stand.who("eve"))).status_code == 403
    assert [type(row.taken.step).__name__ for row in stand.steps.kept] == ["Requested"]


async def test_an_edit_begins_anew_and_two_of_three_are_two(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with access_stand(folder, monkeypatch, approvals=2) as stand:
        grant = await stand.asked()
        bob, carol = stand.who("bob", "approver"), stand.who("carol", "approver")
        path = f"grants/{grant}/approve"
        assert (await stand.post(path, bob, {"version": 1})).json()["phase"] == "requested"
        twice = await stand.post(path, bob, {"version": 1})
        assert (twice.status_code, twice.json()["rules"]) == (403, ["nobody-approves-twice"])
        edited = await stand.post(f"grants/{grant}/edit", stand.who("alice"), {"terms": terms(minutes=60)})
        assert (edited.json()["grant"]["version"], edited.json()["grant"]["votes"]) == (2, [])
        assert reason(await stand.post(path, carol, {"version": 1})) == (412, "version")
        assert (await stand.post(path, carol, {"version": 2})).json()["phase"] == "requested"
        assert reason(await stand.certified(grant))[0] == 403
        assert (await stand.post(path, bob, {"version": 2})).json()["phase"] == "approved"
        assert (await stand.certified(grant)).status_code == 201


async def test_from_outside_it_takes_somebody_inside_and_the_stricter_place_counts(stand: AccessStand) -> None:
    for where in ({"at": "US"}, {"at": "DE", "declared": "US"}, {"at": "US", "declared": "DE"}):
        alice = stand.who("alice", **where)
        grant = await stand.asked(alice)
        path = f"grants/{grant}/approve"
        for head in (stand.who("bob", "approver", at="US"), stand.who("dan", "approver", home="US")):
            assert (await stand.post(path, head, {"version": 1})).json()["phase"] == "requested"
        inside = await stand.post(path, stand.who("carol", "approver", at="FR", home="DE"), {"version": 1})
        assert inside.json()["phase"] == "approved"
        issued = await stand.certified(grant, alice)
        assert issued.status_code == 201, issued.text
        intent = issued.json()["told"]["grant"]["intents"][0]["presence"]
        assert intent["inside"] is False


async def test_who_asked_from_inside_gets_no_certificate_outside_without_somebody_inside(stand: AccessStand) -> None:
    grant = await stand.asked()
    await stand.post(f"grants/{grant}/approve", stand.who("bob", "approver", at="US"), {"version": 1})
    abroad = await stand.certified(grant, stand.who("alice", at="US"))
    assert (abroad.status_code, abroad.json()["rules"]) == (403, ["from-outside-somebody-inside-approves"])
    assert (await stand.certified(grant)).status_code == 201


async def test_an_emergency_is_its_own_approval_and_waits_for_its_review(stand: AccessStand) -> None:
    alice = stand.who("alice", at="US")
    body: dict[str, Any] = {"terms": terms(minutes=30), "on_call": stand.proof("alice")}
    first = await stand.post("grants", alice, body)
    assert (first.status_code, first.json()["phase"]) == (201, "approved"), first.text
    grant = first.json()["grant"]["id"]
    assert first.json()["grant"]["on_call"]["digest"] == hashlib.sha256(body["on_call"].encode()).hexdigest()
    assert (await stand.certified(grant, alice)).status_code == 201
    again = {"terms": terms(minutes=5), "on_call": stand.proof("alice", exp=10**15)}
    assert (await stand.post("grants", alice, again)).status_code == 201
    assert (await stand.get("state", stand.who("ida", "auditor"))).json()["steps"] == len(stand.steps.kept)
    stand.clock.advance(24 * HOUR_S)
    late = {"terms": terms(minutes=5), "on_call": stand.proof("alice")}
    alice = stand.who("alice", at="US")
    assert reason(await stand.post("grants", alice, late)) == (403, "review_overdue")
    assert (await stand.get(f"grants/{grant}", alice)).json()["review_overdue"] is True
    told = {"verdict": "justified", "note": "the export was wrong"}
    own = await stand.post(f"grants/{grant}/review", stand.who("alice", "engineer", "approver"), told)
    assert own.status_code == 403
    for row in {row.taken.step.grant for row in stand.steps.kept}:  # type: ignore[union-attr]
        assert (await stand.post(f"grants/{row}/review", stand.who("bob", "security"), told)).status_code == 200
    assert reason(await stand.post(f"grants/{grant}/review", stand.who("bob", "security"), told)) == (409, "reviewed")
    assert (await stand.post("grants", alice, late)).status_code == 201


async def test_who_does_not_prove_to_be_on_call_has_no_emergency(stand: AccessStand) -> None:
    now = int(stand.clock.unix_s())
    for proof in (
        stand.proof("bob"),
        stand.proof("alice", on_call=False),
        stand.proof("alice", exp=now - 60),
        stand.staff.token("alice", [], on_call=True),
        "none",
    ):
        answer = await stand.post("grants", stand.who("alice"), {"terms": terms(), "on_call": proof})
        assert reason(answer) == (403, "not_on_call")
    long = {"terms": terms(minutes=31), "on_call": stand.proof("alice")}
    assert reason(await stand.post("grants", stand.who("alice"), long)) == (400, "bounds")
    assert stand.steps.kept == []


async def test_a_locked_person_is_refused_everything_and_what_they_hold_opens_nothing(stand: AccessStand) -> None:
    grant = await stand.approved()
    certificate = {"certificate": (await stand.certified(grant)).json()["certificate"]}
    security, alice = stand.who("sam", "security"), stand.who("alice")
    lock = {"person": "engineer:alice", "reason": "laptop stolen"}
    assert (await stand.post("locks", stand.who("bob", "approver"), lock)).status_code == 403
    locked = await stand.post("locks", security, lock)
    assert [one["person"] for one in locked.json()["locks"]] == ["engineer:alice"]
    assert reason(await stand.post("check", stand.who("bob", "approver"), certificate)) == (403, "locked")
    for answer in (
        await stand.post("grants", alice, {"terms": terms()}),
        await stand.certified(grant),
        await stand.get("grants", alice),
        await stand.get(f"grants/{grant}", alice),
        await stand.post(f"grants/{grant}/close", alice, {"reason": "x"}),
    ):
        assert reason(answer) == (403, "locked")
    assert (await stand.post("locks/release", security, lock)).json()["locks"] == []
    assert (await stand.post("check", alice, certificate)).status_code == 200


def exception(stand: AccessStand, **changes: Any) -> str:
    now = int(stand.clock.unix_s())
    text: dict[str, Any] = {
        "exception": "e" * 32,
        "cell": CELL,
        "rule": Rule.INSIDE_APPROVER,
        "engineer": "engineer:alice",
        "purposes": (Purpose.DEBUGGING,),
        "since": now,
        "until": now + 7 * 24 * HOUR_S,
        "reason": "nobody is in the office until Monday",
    }
    signer = changes.pop("signer", OWNER)
    return signed(ExceptionText(**(text | changes)), signer)


async def test_a_signed_exception_lifts_its_rule_for_its_engineer_and_purpose_until_it_is_withdrawn(
    stand: AccessStand,
) -> None:
    security = stand.who("sam", "security")
    kept = await stand.post("exceptions", security, {"note": exception(stand)})
    assert (kept.status_code, kept.json()["counts"]) == (201, True), kept.text
    alice, bob = stand.who("alice", at="US"), stand.who("bob", "approver", at="US")

    async def phase_of(head: dict[str, str], **changes: Any) -> str:
        grant = await stand.asked(head, **changes)
        answer = await stand.post(f"grants/{grant}/approve", bob, {"version": 1})
        return str(answer.json()["phase"])

    assert await phase_of(alice) == "approved"
    assert await phase_of(alice, purpose="support") == "requested"
    assert await phase_of(stand.who("dora", at="US")) == "requested"
    gone = await stand.post(f"exceptions/{'e' * 32}/withdraw", security, {"reason": "Monday"})
    assert gone.json()["exceptions"][0]["counts"] is False
    assert await phase_of(alice) == "requested"


async def test_an_exception_may_let_one_approval_count_for_two_and_is_not_leant_on_where_it_is_not_needed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with access_stand(folder, monkeypatch, approvals=2) as stand:
        security, bob = stand.who("sam", "security"), stand.who("bob", "approver")
        await stand.post("exceptions", security, {"note": exception(stand)})
        second = exception(stand, exception="d" * 32, rule=Rule.SECOND_APPROVER)
        assert (await stand.post("exceptions", security, {"note": second})).status_code == 201
        for head, leans in ((stand.who("alice"), ["d" * 32]), (stand.who("dora"), [])):
            grant = await stand.asked(head)
            told = (await stand.post(f"grants/{grant}/approve", bob, {"version": 1})).json()
            assert told["phase"] == ("approved" if leans else "requested")
            assert told["grant"]["votes"][0]["exceptions"] == leans


FAULTY: tuple[tuple[dict[str, Any], int], ...] = (
    ({"signer": Signer("security.example.com/exceptions", Secret(b"x" * 32))}, 403),
    ({"cell": "us-va"}, 403),
    ({"days": 31}, 400),
    ({"engineer": "engineer:sam"}, 403),
    ({"engineer": "alice"}, 403),
)


async def test_an_exception_that_nobody_owns_or_that_reaches_too_far_is_refused(stand: AccessStand) -> None:
    security, now = stand.who("sam", "security"), int(stand.clock.unix_s())
    for changes, status in FAULTY:
        given = {"until": now + 31 * 24 * HOUR_S} if "days" in changes else dict(changes)
        answer = await stand.post("exceptions", security, {"note": exception(stand, **given)})
        assert (changes, answer.status_code) == (changes, status)
    spaced = exception(stand).replace('","', '", "', 1)
    assert (await stand.post("exceptions", security, {"note": spaced})).status_code == 403
    assert stand.steps.kept == []


async def test_subjects_of_two_shards_take_a_certificate_for_each(stand: AccessStand) -> None:
    grant = await stand.approved(subjects=[SUBJECT, FAR])
    unnamed = await stand.certified(grant)
    assert (unnamed.status_code, unnamed.json()["shards"]) == (400, ["s1", "s2"])
    assert reason(await stand.certified(grant, shard="s3")) == (404, "subjects")
    for shard in ("s1", "s2"):
        assert (await stand.certified(grant, shard=shard)).status_code == 201


async def test_who_is_not_signed_in_gets_nothing(stand: AccessStand) -> None:
    now = int(stand.clock.unix_s())
    for head in (
        {},
        {"authorization": "Bearer none"},
        {"authorization": f"Bearer {stand.duty.token('alice', ['engineer'])}"},
        stand.who("alice", exp=now - 60),
        stand.who("alice", iat=now - 2 * HOUR_S),
        stand.who("alice", iat=None),
        stand.who("alice", aud="another"),
    ):
        assert (await stand.post("grants", head, {"terms": terms()})).status_code == 401
        assert (await stand.get("grants", head)).status_code == 401
    for claims in ({"roles": [1]}, {"sub": "a b"}):
        assert (await stand.post("grants", stand.who("alice", **claims), {"terms": terms()})).status_code == 403
    assert (await stand.post("grants", stand.who("alice", "operator"), {"terms": terms()})).status_code == 403
    wrong = stand.who("alice") | {"domicile-declared": "Germany"}
    assert (await stand.post("grants", wrong, {"terms": terms()})).status_code == 400


async def test_lists_show_engineers_their_own_and_deciders_everything(stand: AccessStand) -> None:
    mine = await stand.asked()
    other = await stand.asked(stand.who("dora"), subjects=[OTHER])
    shown = (await stand.get("grants", stand.who("alice"))).json()["grants"]
    assert [one["grant"]["id"] for one in shown] == [mine]
    every = (await stand.get("grants", stand.who("bob", "approver"))).json()["grants"]
    assert {one["grant"]["id"] for one in every} == {mine, other}
    assert (await stand.get("grants", stand.who("bob", "approver"), phase="active")).json() == {"grants": []}
    assert (await stand.get("grants", stand.who("bob", "approver"), phase="lost")).status_code == 400
    assert (await stand.get("report", stand.who("alice"))).status_code == 403


async def test_a_report_is_the_same_bytes_for_the_same_question_whatever_came_later(stand: AccessStand) -> None:
    grant = await stand.approved()
    auditor = stand.who("ida", "auditor")
    until = int(stand.clock.unix_s()) * 1_000_000
    stand.clock.advance(1)
    before = await stand.get("report", auditor, until_us=until, subject=SUBJECT)
    assert [one["grant"]["id"] for one in before.json()["grants"]] == [grant]
    await stand.certified(grant)
    await stand.asked(stand.who("dora"))
    size = before.json()["asked"]["size"]
    after = await stand.get("report", auditor, until_us=until, size=size, subject=SUBJECT)
    assert after.content == before.content
    assert (await stand.get("report", auditor, size=size + 1_000)).status_code == 400
    assert (await stand.get("report", auditor, subject=OTHER)).json()["grants"] == []


async def test_the_state_is_what_a_replay_comes_to(stand: AccessStand) -> None:
    await stand.certified(await stand.approved())
    told = (await stand.get("state", stand.who("ida", "auditor"))).json()
    book = fold(row.taken for row in stand.steps.kept)
    assert told == {"steps": len(stand.steps.kept), "digest": book.digest()}


async def test_the_cells_own_log_is_replayed_over_http_and_held_against_what_the_cell_says(
    stand: AccessStand, folder: Path
) -> None:
    auditor, grant = stand.who("ida", "auditor"), await stand.approved()
    assert (await stand.get("replay", stand.who("alice"))).status_code == 403
    told = (await stand.get("replay", auditor)).json()
    digest = fold(row.taken for row in stand.steps.kept).digest()
    assert told == {"steps": 2, "digest": digest, "recorded": 2, "cell": digest, "same": True}
    stand.steps.flows = False  # what the log has not taken in yet is no difference
    await stand.post(f"grants/{grant}/revoke", stand.who("bob", "approver"), {"reason": "found it"})
    behind = (await stand.get("replay", auditor)).json()
    assert behind == {**told, "recorded": 3}
    lost = stand.steps.kept[1:]
    del stand.steps.kept[1:]  # as in a database that was restored to before the approval
    forgot = (await stand.get("replay", auditor)).json()
    assert (forgot["steps"], forgot["recorded"], forgot["same"]) == (2, 1, False)
    stand.steps.kept += lost
    first = stand.steps.kept[0]
    step = msgspec.structs.replace(first.taken.step, terms=Terms(**terms(minutes=60)))  # type: ignore[call-arg]
    stand.steps.kept[0] = msgspec.structs.replace(first, taken=msgspec.structs.replace(first.taken, step=step))
    stand.access.calls._keeper._forget()
    changed = (await stand.get("replay", auditor)).json()
    assert (changed["digest"], changed["same"], changed["cell"] == digest) == (digest, False, False)
    found = reader(folder / "log").find(f"grant:{grant}:1")
    assert found is not None
    assert payloads.erase(folder / "log", [found.index])
    erased = await stand.get("replay", auditor)
    assert (erased.status_code, "was erased" in erased.json()["detail"]) == (409, True)


async def test_metrics_say_what_stands_and_what_is_overdue(stand: AccessStand) -> None:
    await stand.asked()
    await stand.approved()
    urgent = {"terms": terms(minutes=5), "on_call": stand.proof("dora")}
    await stand.post("grants", stand.who("dora"), urgent)
    lock = {"person": "engineer:dora", "reason": "x"}
    await stand.post("locks", stand.who("sam", "security"), lock)
    keeper = stand.access.calls._keeper
    observe(*await keeper.book())
    told = (await stand.http.get("/metrics")).text
    assert 'domicile_access_grants{phase="requested"} 1.0' in told
    assert 'domicile_access_grants{phase="approved"} 2.0' in told
    assert "domicile_access_locked 1.0" in told
    stand.clock.advance(24 * HOUR_S)
    observe(*await keeper.book())
    told = (await stand.http.get("/metrics")).text
    assert 'domicile_access_grants{phase="approved"} 0.0' in told
    assert "domicile_access_reviews_overdue 1.0" in told


def test_settings_that_grant_what_is_not_on_the_record_are_refused(folder: Path) -> None:
    usual = AccessStand(folder).settings()
    cell = CellSettings(
        cell=CELL,
        host="127.0.0.1",
        port=1,
        directory="http://127.0.0.1:1",
        token_file="t",
        service_issuers=(),
        cell_root_keyring="r",
        contracts="c",
        access=usual,
    )
    with pytest.raises(SettingsError, match="access needs ledger"):
        cell.checked()
    both = Tickets(file="f", url="https://tickets.example.com")
    same = msgspec.structs.replace(usual.issuer, issuer="https://duty.example.com")
    for wrong, says in (
        (msgspec.structs.replace(usual, tickets=Tickets()), "a file or a url"),
        (msgspec.structs.replace(usual, tickets=both), "a file or a url"),
        (msgspec.structs.replace(usual, tickets=Tickets(file="f", token_file="t")), "goes with url"),
        (msgspec.structs.replace(usual, on_call=same), "audience of its own"),
    ):
        with pytest.raises(SettingsError, match=says):
            wrong.checked()


async def test_the_document_names_every_call(stand: AccessStand) -> None:
    document = (await stand.http.get("/access/openapi.json")).json()
    calls = {f"{method.upper()} {path}" for path, one in document["paths"].items() for method in one}
    assert len(calls) == 22
    assert {"POST /access/grants", "POST /access/grants/{grant}/certificate", "GET /access/report"} <= calls
    assert document["info"]["title"] == "domicile break-glass"


async def test_a_second_process_sees_what_the_first_has_done_and_a_lost_history_is_noticed(stand: AccessStand) -> None:
    grant = await stand.asked()
    keeper = stand.access.calls._keeper
    other = Keeper(stand.steps, stand.clock)
    assert set((await other.book())[0].grants) == {grant}
    await stand.approved()
    assert (await other.book())[0].digest() == (await keeper.book())[0].digest()
    stand.steps.kept.pop()
    assert len(await keeper.history()) == len(stand.steps.kept)
    assert (await keeper.book())[0].digest() == fold(row.taken for row in stand.steps.kept).digest()


async def test_a_step_that_took_the_place_and_the_name_of_another_is_noticed(stand: AccessStand) -> None:
    sam, keeper = stand.who("sam", "security"), stand.access.calls._keeper
    assert (await stand.post("locks", sam, {"person": "engineer:carl", "reason": "x"})).status_code == 200
    lost = stand.steps.kept.pop()
    other = msgspec.structs.replace(lost.taken, step=Locked(person=engineer_of("dora"), reason="x"))
    stand.steps.kept.append(msgspec.structs.replace(lost, taken=other))
    assert set((await keeper.book())[0].locks) == {"engineer:dora"}


async def test_an_event_of_another_under_the_name_of_a_step_is_no_record(stand: AccessStand) -> None:
    grant = await stand.asked()
    first = stand.steps.kept[0]
    stand.steps.kept.insert(0, Row(0, f"grant:{grant}:1", first.taken))
    keeper = stand.access.calls._keeper
    keeper._position, keeper._last = first.position, first
    with pytest.raises(ProblemError, match="does not hold together"):
        await keeper.act(engineer_of("alice"), lambda _book, _at: (Closed(grant=GrantId(grant), reason="x"),))


async def test_on_a_history_that_could_not_be_nothing_is_granted_and_nothing_else_ends(stand: AccessStand) -> None:
    grant = await stand.approved()
    stand.steps.kept.append(msgspec.structs.replace(stand.steps.kept[-1], position=9, id="grant:x:9"))
    assert (await stand.certified(grant)).status_code == 503
    assert (await stand.get("grants", stand.who("alice"))).status_code == 503
    stand.steps.kept.pop()
    assert (await stand.certified(grant)).status_code == 201


async def test_a_certificate_whose_signing_was_not_recorded_is_handed_to_nobody(stand: AccessStand) -> None:
    grant = await stand.approved()
    stand.steps.fails_at = "Certified"
    assert (await stand.certified(grant)).status_code == 503
    shown = (await stand.get(f"grants/{grant}", stand.who("alice"))).json()
    assert (shown["phase"], [one["digest"] for one in shown["grant"]["intents"]]) == ("approved", [None])
    stand.steps.fails_at = ""
    again = await stand.certified(grant)
    assert again.status_code == 201
    assert len(again.json()["told"]["grant"]["intents"]) == 2
    for _ in range(3):
        assert (await stand.certified(grant)).status_code == 201
    assert reason(await stand.certified(grant)) == (409, "too_many")
