"""Treated rows, column by column, and what their columns are: what every format of a part is made of."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from cells.egress.values import Kind

Schema: TypeAlias = Sequence[tuple[str, Kind]]
"""Names in their order, each with what its values are."""
Columns: TypeAlias = Mapping[str, Sequence[Any]]
"""By name, all of one length."""
