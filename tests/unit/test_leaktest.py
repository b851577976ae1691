"""The leak test in short (`make leaktest` is the long form): no planted value escapes by any way, one let out on purpose is seen."""

import base64
from pathlib import Path

import pytest

from tests.leaktest.looking import tells
from tests.leaktest.planting import ENCODINGS, KINDS, Planted, core, pool
from tests.leaktest.rows import Rows
from tests.leaktest.running import WAYS, Leak, failures, through

pytestmark = pytest.mark.anyio
POOL = pool(seed=3, rounds=1)
PAGE_ROWS = 20


def rows(way: str, count: int) -> Rows:
    """Together the ways plant every kind in every encoding in kept fields."""
    return Rows(pool=POOL, count=count, page_rows=PAGE_ROWS, first=WAYS.index(way) * count // PAGE_ROWS // 2)


@pytest.mark.parametrize("way", WAYS)
async def test_no_planted_value_escapes_and_only_batches_with_one_are_held(way: str, folder: Path) -> None:
    count = 4_000
    stated = rows(way, count)
    came = await through(way, stated, folder, part_rows=1_000)
    assert failures(came, stated) == []
    assert (came.looked.rows, came.held) == (count // 2, count // PAGE_ROWS // 2)


def test_the_short_form_plants_every_kind_in_every_encoding() -> None:
    planted = {(one.kind, one.encoding) for one in POOL}
    assert len(planted) == len(KINDS) * len(ENCODINGS) == len(POOL) <= len(WAYS) * 4_000 // PAGE_ROWS // 2


@pytest.mark.parametrize("leak", [Leak.TREATMENT, Leak.SCANNER])
@pytest.mark.parametrize("way", ["parquet", "events", "batches"])
async def test_a_planted_leak_is_caught(way: str, leak: Leak, folder: Path) -> None:
    stated = rows(way, 400)
    came = await through(way, stated, folder, leak, part_rows=1_000)
    assert came.looked.escaped >= 10
    assert failures(came, stated)


def test_a_value_is_told_by_itself_by_its_digits_and_by_its_encoded_form() -> None:
    encoded = base64.b64encode(b"card 4111 1111 1111 1111").decode()
    one = Planted("card", "base64", "4111 1111 1111 1111", encoded, core("4111 1111 1111 1111"))
    for text in (one.value, f"x{encoded}y", "4111-1111-1111-1111", "no. 4111.1111.1111.1111!"):
        assert tells(text, one)
    for text in ("1111", "4111 1111 1111 1112", encoded[4:], ""):
        assert not tells(text, one)
