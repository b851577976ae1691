"""What a release and a stream take of memory does not grow with how much there is of them."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from cells.egress.values import Kind

SMALL, LARGE = 2, 12
MORE_MIB_MAX = 8.0
"""How much more the larger may take. Held whole, its rows would take thrice their size in NDJSON at least."""


def peak_mib(folder: Path, way: str, mebibytes: int) -> float:
    """Of a process that does nothing else."""
    command = [sys.executable, "-P", "-m", "load_tests.bench.egress.memory", "--alone", "--ways", way]
    command += ["--mebibytes", str(mebibytes), "--out", str(folder / f"{way}-{mebibytes}")]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=100)
    return float(json.loads(ended.stdout)["peak"])


@pytest.mark.parametrize("way", ["ndjson", "stream"])
def test_memory_does_not_grow_with_the_size_of_what_leaves(folder: Path, way: str) -> None:
    assert peak_mib(folder, way, LARGE) - peak_mib(folder, way, SMALL) < MORE_MIB_MAX


def test_parquet_holds_no_more_than_a_row_group(monkeypatch: pytest.MonkeyPatch) -> None:
    arrow = pytest.importorskip("cells.egress.arrow")
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(arrow, "GROUP_BYTES_MAX", 64_000)
    out = io.BytesIO()
    writer = arrow.ParquetWriter((("item", Kind.TEXT),), out)
    for _ in range(100):
        writer.write({"item": ["x" * 100] * 100})
    writer.finish()
    read = pq.ParquetFile(io.BytesIO(out.getvalue()))
    assert read.metadata.num_rows == 10_000
    assert read.metadata.num_row_groups > 10
