"""What `domicile access` and its API do with what they cannot take: a clear word, no fault, and nothing that is left behind."""

import os
from collections.abc import AsyncIterator

import httpx
import pytest
from click.testing import CliRunner, Result

from cells.breakglass.words import Phase
from deploy.local.postgres import PostgresServer
from gateway.cli.access import COMMANDS
from gateway.cli.main import cli
from tests.integration.test_access_cell import REQUEST, Office, opened_office
from tests.stands.documented import CONFORMING, explore
from tests.stands.ledger import kept_by

pytestmark = pytest.mark.anyio

NUMBER = int(os.environ.get("DOCUMENTED_REQUESTS", "4"))
NOBODYS = "0" * 32
EVERYTHING = ("engineer", "approver", "security", "auditor")


@pytest.fixture(scope="module")
async def office(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    folder = tmp_path_factory.mktemp("refusing")
    with pytest.MonkeyPatch.context() as patch:
        async with opened_office(postgres_server, folder, patch, kept_by(folder)) as made:
            yield made


EXEMPT = (
    "exempt",
    "--purpose",
    "debugging",
    "--reason",
    "x",
    "--key",
    "{folder}/owner.key",
    "--rule",
    "inside_approver",
)
OUT = ("--out", "{folder}/new.pem", "--key-out", "{folder}/new.key")
REFUSED: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("alice", "engineer", (*REQUEST, "--subjects", "{subject}", "--minutes", "61"), "1 to 60 minutes, 30 in an emergency"),
    ("alice", "engineer", (*REQUEST, "--subjects", "{subject}", "--minutes", "0"), "1 to 60 minutes"),
    ("alice", "engineer", (*REQUEST, "--subjects", "{subject},{subject}"), "1 to 100 subjects, each once"),
    ("alice", "engineer", (*REQUEST, "--subjects", "nobody"), "subjects"),
    ("alice", "engineer", (*REQUEST, "--subjects", "0b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77"), "have their home on that shard of this cell"),
    ("alice", "engineer", (*REQUEST, "--subjects", "{subject}", "--ticket", "OPS-8"), "the ticket is not open; name one that is"),
    ("alice", "engineer", (*REQUEST, "--subjects", "{subject}", "--purpose", "curiosity"), "debugging"),
    ("alice", "engineer", (*REQUEST, "--subjects", "{subject}", "--reason", ""), "reason"),
    ("alice", "engineer", (*REQUEST, "--subjects", "{subject}", "--emergency"), "--on-call FILE"),
    ("alice", "engineer", (*REQUEST, "--subjects", "{subject}", "--emergency", "--on-call", "{folder}/bob.duty"), "of whoever asks"),
    ("alice", "approver", (*REQUEST, "--subjects", "{subject}"), "role"),
    ("alice", "engineer", REQUEST, "--subjects"),
    ("alice", "engineer", ("edit", "x", *REQUEST[1:], "--subjects", "{subject}"), "32 hex digits"),
    ("alice", "engineer", ("edit", NOBODYS, *REQUEST[1:], "--subjects", "{subject}"), "no such request"),
    ("dora", "engineer", ("edit", "{grant}", *REQUEST[1:], "--subjects", "{subject}"), "no rule of policy permits that"),
    ("dora", "engineer", ("close", "{grant}", "--reason", "x"), "no rule of policy permits that"),
    ("alice", "engineer", ("close", "../locks", "--reason", "x"), "32 hex digits"),
    ("alice", "engineer", ("certificate", "{grant}", *OUT), "certificates-take-their-approvals"),
    ("alice", "engineer", ("certificate", "{grant}", "--out", "{folder}/there", "--key-out", "{folder}/new.key"), "not written over"),
    ("alice", "engineer", ("certificate", "{grant}", "--out", "{folder}/one", "--key-out", "{folder}/one"), "where the key goes"),
    ("alice", "engineer", ("check", "{folder}/there"), "opens nothing: malformed"),
    ("alice", "engineer", ("check", "{folder}/nowhere"), "cannot be read as a certificate in PEM"),
    ("alice", "engineer", ("psql", "{grant}"), "--door HOST:PORT"),
    ("alice", "engineer", ("psql", "{grant}", "--door", "a:99999", "--door-authorities", "x"), "a port of 1 to 65535"),
    ("alice", "engineer", ("psql", "{grant}", "--door", "a:²", "--door-authorities", "x"), "a port of 1 to 65535"),
    ("alice", "approver", ("approve", "{grant}", "--version", "1"), "nobody-decides-about-their-own"),
    ("bob", "approver", ("approve", "{grant}", "--version", "2"), "edited meanwhile"),
    ("bob", "approver", ("approve", "{grant}", "--version", "0"), "version"),
    ("bob", "approver", ("approve", "{grant}?version=1", "--version", "1"), "32 hex digits"),
    ("ida", "auditor", ("approve", "{grant}", "--version", "1"), "role"),
    ("sam", "security", ("deny", "{grant}", "--reason", "x"), "role"),
    ("bob", "approver", ("deny", NOBODYS, "--reason", "x"), "no such request"),
    ("bob", "approver", ("revoke", "{grant}", "--reason", "x"), "where it stands now does not allow that"),
    ("bob", "approver", ("revoke", "{grant}", "--reason", "two\nlines"), "reason"),
    ("bob", "approver", ("review", "{grant}", "--verdict", "justified", "--note", "x"), "nothing to review"),
    ("bob", "approver", ("review", "{grant}", "--verdict", "fine", "--note", "x"), "not_justified"),
    ("ida", "auditor", ("list", "--phase", "lost"), "requested"),
    ("ida", "auditor", ("list", "--limit", "0"), "1<=x<=1000"),
    ("ida", "auditor", ("show", "é"), "32 hex digits"),
    ("ida", "auditor", ("show", NOBODYS), "no such request"),
    ("ida", "auditor", ("report", "--subject", "x"), "subject"),
    ("ida", "auditor", ("report", "--engineer", "alice"), "engineer:<sub>"),
    ("ida", "auditor", ("report", "--since-us", "-1"), "x>=0"),
    ("ida", "auditor", ("report", "--size", "1000000000"), "entries"),
    ("ida", "auditor", ("report", "--steps", "1000000000"), "steps"),
    ("alice", "engineer", ("report",), "role"),
    ("ida", "auditor", ("replay", "--log", "{folder}/nowhere"), "log"),
    ("ida", "auditor", ("replay", *("--log", "{folder}/log", "--key", "{folder}/log.vkey"), "--report", "--steps", "-1"), "0<=x<="),
    ("ida", "auditor", ("replay", *("--log", "{folder}/log", "--key", "{folder}/log.vkey"), "--report", "--size", "1000000000"), "entries"),
    ("alice", "engineer", ("audit-roles",), "role"),
    ("alice", "engineer", ("locks",), "role"),
    ("sam", "security", ("lock", "alice", "--reason", "x"), "engineer:<sub>"),
    ("sam", "security", ("unlock", "engineer:alice", "--reason", "x"), "a lock is lifted in the cell that made it"),
    ("sam", "security", (*EXEMPT, "--cell", "eu-de", "--engineer", "alice", "--days", "7"), "engineer:<sub>"),
    ("sam", "security", (*EXEMPT, "--cell", "us-va", "--engineer", "engineer:alice", "--days", "7"), "for the cell us-va"),
    ("sam", "security", (*EXEMPT, "--cell", "eu-de", "--engineer", "engineer:alice", "--days", "31"), "1<=x<=30"),
    ("sam", "security", ("withdraw", "x", "--reason", "x"), "32 hex digits"),
    ("sam", "security", ("withdraw", NOBODYS, "--reason", "x"), "exception"),
)  # fmt: skip
ALONE: tuple[tuple[tuple[str, ...], str], ...] = (
    (("authority", "EU", "--out", "{folder}/a", "--key-out", "{folder}/b"), "cell"),
    (("authority", "eu-de", "--out", "{folder}/a/b", "--key-out", "{folder}/a/c"), "cannot be written"),
    (("list", *("--url", "http://127.0.0.1:1", "--token-file", "{folder}/alice.jwt"), "--from", "Österreich"), "countries"),
    (("prepare", "now"), "unexpected extra argument"),
    (("reconcile", "{folder}/nowhere"), "nowhere"),
)  # fmt: skip


def said(done: Result, words: object) -> str:
    """What a command that was refused says: one line of its own words at the end."""
    assert done.exit_code in (1, 2), (words, done.output)
    assert isinstance(done.exception, SystemExit), (words, done.exception)
    *_, last = done.output.strip().splitlines()
    assert (last[:7], done.output.count("Error: ")) == ("Error: ", 1), (words, done.output)
    return done.output


async def test_each_command_says_clearly_what_it_cannot_take_and_leaves_nothing(office: Office) -> None:
    subject, _ = await office.live.place()
    asked = await office.told("alice", "engineer", *REQUEST, "--subjects", subject)
    grant = asked["grant"]["id"]
    office.on_call("bob")
    (office.folder / "there").write_text("no certificate")
    given = {"subject": subject, "grant": grant, "folder": office.folder}
    before = await office.told("ida", "auditor", "report")
    files = sorted(one.name for one in office.folder.iterdir() if one.suffix != ".jwt")
    for who, role, words, says in REFUSED:
        done = await office.command(who, role, *(word.format(**given) for word in words))
        assert says in said(done, words), (words, done.output)
    for words, says in ALONE:
        done = CliRunner().invoke(cli, ["access", *(word.format(**given) for word in words)])
        assert says in said(done, words), (words, done.output)
    told = {words[0] for _, _, words, _ in REFUSED} | {words[0] for words, _ in ALONE}
    assert told == set(COMMANDS)
    after = await office.told("ida", "auditor", "report")
    assert (after["steps"], after["grants"]) == (before["steps"], before["grants"])
    assert sorted(one.name for one in office.folder.iterdir() if one.suffix != ".jwt") == files


# The cell's workers draw their pauses by chance while hypothesis looks at that same source.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning")
@pytest.mark.timeout(3_600 if NUMBER > 20 else 240)
async def test_no_request_of_the_document_makes_a_fault(office: Office) -> None:
    http = office.live.http

    async def send(request: httpx.Request) -> httpx.Response:
        request.headers.update(office.head("ida", *EVERYTHING))
        answer = await http.send(request)
        assert answer.status_code != 500, f"{request.method} {request.url} {request.content!r}\n  → {answer.text}"
        if answer.status_code >= 400:
            problem = answer.json()
            assert problem["code"], answer.text
            assert problem.get("detail") or problem["title"], answer.text
        return answer

    document = (await http.get("/access/openapi.json")).json()
    seen = await explore(document, send, CONFORMING, fitting=NUMBER, violating=2)
    print(f"{sum(seen.values())} requests: {dict(sorted(seen.items()))}")
    assert any(status < 300 for _, status in seen), seen
    shown = (await http.get("/access/grants", headers=office.head("ida", *EVERYTHING))).json()["grants"]
    assert all(one["phase"] in set(Phase) for one in shown)
