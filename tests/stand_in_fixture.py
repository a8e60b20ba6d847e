"""The stand-in for Azure as a fixture: one server for a session, a fresh Azure for each test."""

from collections.abc import Iterator

import pytest
from stand_in import Azure, StandIn, running_stand_in

from opslib.azure import arm, arm_transport, waiting


@pytest.fixture(scope="session")
def stand_in_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with running_stand_in(tmp_path_factory.mktemp("stand-in")) as running:
        yield running


@pytest.fixture
def stand_in(stand_in_server: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """A stand-in in its first state, which opslib polls without pauses: it sends no Retry-After, as Azure does."""
    stand_in_server.azure = Azure(url=stand_in_server.url)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(stand_in_server.authority))
    monkeypatch.setattr(arm, "POLL_INTERVAL_S", 0.01)
    for module in (arm, arm_transport, waiting):
        monkeypatch.setattr(module, "sleep", lambda _seconds: None)
    return stand_in_server
