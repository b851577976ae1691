"""The pure parts of the wall: which mask a column gets, what is allowed, what a password's verifier is, who counts as the door."""

import base64
import hashlib
import hmac

import msgspec
import pytest
from click.testing import CliRunner

from cells.breakglass.roles import compared
from cells.breakglass.store import Login
from cells.breakglass.wall.allowed import NAMES
from cells.breakglass.wall.masks import Mask, expression, mask_of, masked, shown
from cells.breakglass.wall.server import ENGINEER, preparation
from cells.breakglass.wall.verifier import ITERATIONS, verifier
from cells.breakglass.wall.views import statements
from cells.records.contracts import Class, Column, Contract
from foundation.mute import Secret
from foundation.words import ShardId
from gateway.cli.access import access
from tests.stands.wall_telling import without_work


def contract(**columns: Column) -> Contract:
    keys = {"subject_id": Column(type="uuid", klass=Class.PSEUDONYMOUS), "id": Column(type="uuid", klass=Class.NONE)}
    return Contract(table="t", placed_by="subject_id", owner="subject_id", columns={**keys, **columns})


MASKS = [
    (Column(type="text", klass=Class.NONE), Mask.WHOLE, Mask.WHOLE),
    (Column(type="text", klass=Class.PSEUDONYMOUS), Mask.WHOLE, Mask.NOTHING),
    (Column(type="uuid", klass=Class.PSEUDONYMOUS, subject_ref=True), Mask.NAMED, Mask.NAMED),
    (Column(type="uuid[]", klass=Class.NONE, subject_ref=True), Mask.NOTHING, Mask.NOTHING),
    (Column(type="date", klass=Class.QUASI), Mask.YEAR, Mask.NOTHING),
    (Column(type="timestamp", klass=Class.QUASI), Mask.YEAR, Mask.NOTHING),
    (Column(type="text", klass=Class.QUASI), Mask.SHAPE, Mask.PRESENCE),
    (Column(type="int", klass=Class.QUASI), Mask.NOTHING, Mask.NOTHING),
    (Column(type="text", klass=Class.DIRECT), Mask.SHAPE, Mask.PRESENCE),
    (Column(type="date", klass=Class.DIRECT), Mask.NOTHING, Mask.NOTHING),
    (Column(type="text", klass=Class.FREE_TEXT), Mask.LENGTH, Mask.PRESENCE),
    (Column(type="jsonb", klass=Class.FREE_TEXT), Mask.NOTHING, Mask.NOTHING),
    (Column(type="text", klass=Class.SPECIAL), Mask.NOTHING, Mask.NOTHING),
    (Column(type="jsonb", klass=Class.NONE), Mask.WHOLE, Mask.WHOLE),
    (Column(type="jsonb", klass=Class.NONE, members={"a": Column(type="text")}), Mask.NOTHING, Mask.NOTHING),
    (Column(type="json", klass=Class.NONE, items=Column(type="text", klass=Class.NONE)), Mask.NOTHING, Mask.NOTHING),
]


@pytest.mark.parametrize(("column", "inside", "outside"), MASKS)
def test_a_columns_class_decides_its_mask(column: Column, inside: Mask, outside: Mask) -> None:
    made = contract(x=column)
    assert (mask_of(made, "x", inside=True), mask_of(made, "x", inside=False)) == (inside, outside)
    assert masked(made, "x", inside=True, purpose="debugging") is (inside is not Mask.WHOLE)


@pytest.mark.parametrize("klass", list(Class))
def test_the_key_of_the_ticket_is_shown_whatever_its_class(klass: Class) -> None:
    made = contract(subject_id=Column(type="uuid", klass=klass))
    assert mask_of(made, "subject_id", inside=False) is Mask.WHOLE


def test_neither_sealed_nor_unclassified_columns_are_in_any_statement() -> None:
    made = contract(
        card=Column(type="text", klass=Class.NONE, sealed=True),
        shadow=Column(type="text"),
        level=Column(type="text", klass=Class.NONE),
    )
    assert shown(made) == ("subject_id", "id", "level")
    text = "\n".join(statements(made))
    assert ("card" in text, "shadow" in text, "level" in text) == (False, False, True)


def test_what_is_shown_whole_is_so_for_its_purposes_alone() -> None:
    made = contract(
        rate=Column(type="int", klass=Class.NONE, purposes=("billing", "debugging")),
        odd=Column(type="int", klass=Class.NONE, purposes=("o'clock",)),
        name=Column(type="text", klass=Class.DIRECT, purposes=("billing",)),
    )
    assert (
        expression(made, "rate")
        == "CASE WHEN s.purpose = ANY (ARRAY['billing', 'debugging']::text[]) THEN t.\"rate\" END"
    )
    assert expression(made, "odd") == 'CASE WHEN s.purpose = ANY (ARRAY[]::text[]) THEN t."odd" END'
    assert "s.purpose" not in expression(made, "name")
    assert [masked(made, "rate", inside=True, purpose=one) for one in ("debugging", "audit")] == [False, True]


def test_the_allow_list_has_nothing_that_runs_a_text_reads_a_file_or_looks_at_others() -> None:
    worse = {
        "query_to_xml", "table_to_xml", "cursor_to_xml", "ts_stat", "ts_rewrite", "pg_read_file", "pg_ls_dir", "lo_get", "lo_import",
        "pg_notify", "pg_stat_get_activity", "pg_terminate_backend", "pg_cancel_backend", "pg_sleep", "pg_advisory_lock",
        "pg_export_snapshot", "nextval", "dblink", "xpath", "xml", "pg_relation_size", "pg_stat_get_live_tuples", "setseed", "repeat",
    }  # fmt: skip
    assert worse.isdisjoint(NAMES)
    assert len(set(NAMES)) == len(NAMES)
    assert all(name.replace("_", "").isalnum() for name in NAMES)
    assert all(f"{name}, " in preparation() or f"{name}}}" in preparation() for name in NAMES)


def test_a_verifier_is_what_rfc_5803_says() -> None:
    told = verifier(Secret("pencil"), b"salt of sixteen!")
    mechanism, counted, keys = told.split("$")
    assert (mechanism, counted) == ("SCRAM-SHA-256", f"{ITERATIONS}:{base64.b64encode(b'salt of sixteen!').decode()}")
    stored, server = (base64.b64decode(one) for one in keys.split(":"))
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", b"salt of sixteen!", ITERATIONS)
    assert stored == hashlib.sha256(hmac.new(salted, b"Client Key", "sha256").digest()).digest()
    assert server == hmac.new(salted, b"Server Key", "sha256").digest()


def test_the_doors_login_stands_apart_while_it_is_closed_and_has_no_rights_besides() -> None:
    closed = Login(role=ENGINEER, may=(), bounded=True, closed=True)
    service = Login(role="domicile_cell", may=(), bounded=False)
    told = compared(ShardId("s1"), [closed, service], ["domicile_cell"])
    assert (told.door, told.services, told.standing) == ((closed,), (service,), ())
    for open_ in (msgspec.structs.replace(closed, closed=False), msgspec.structs.replace(closed, may=("superuser",))):
        told = compared(ShardId("s1"), [open_], ["domicile_cell", ENGINEER])
        assert (told.door, told.services, told.standing) == ((), (), (open_,))


def test_the_command_prints_what_the_stack_runs() -> None:
    told = CliRunner().invoke(access, ["prepare"])
    assert (told.exit_code, told.output) == (0, preparation())


def test_two_plans_that_differ_by_what_was_read_alone_are_told_alike() -> None:
    """A plan that was made after a cache was emptied tells of its pages; one that was made before says nothing of any."""
    warm = "['QUERY PLAN']\n(  ->  Sort  (cost=1.00..2.00 rows=5) (actual time=0.1..0.2 rows=12 loops=1))\n(Execution Time: 0.3 ms)"
    cold = (
        "['QUERY PLAN']\n(        Buffers: shared hit=3)\n(  ->  Sort  (cost=1.00..2.00 rows=5) (actual time=0.4..0.6 rows=12 loops=1))\n"
        "(  Buffers: shared hit=21)\n(Execution Time: 1.3 ms)\n(Planning:)"
    )
    assert without_work(warm) == without_work(cold).rstrip("\n")
    assert without_work(warm) != without_work(cold.replace("rows=12", "rows=13")).rstrip("\n")
