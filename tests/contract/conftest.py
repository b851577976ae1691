"""Of what a contract's other side may take."""

import pytest

from directory.client.second_level import valkey
from gateway.edge.limits import region


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a call or a connection may take is not what is asked here."""
    for module, name in ((valkey, "CALL_S_MAX"), (valkey, "CONNECT_S_MAX"), (region, "CALL_S_MAX")):
        monkeypatch.setattr(module, name, 10.0)
