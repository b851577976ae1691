"""The loop that the product runs on, for modules of tests to import: transports differ."""

import pytest


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """uvloop. A module that imports it names it in `__all__`."""
    return "asyncio", {"use_uvloop": True}
