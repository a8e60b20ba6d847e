import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from estate_fixture import estate, estate_sandbox
from memory_folder import use_memory
from prepared_opslib import close as close_prepared_opslib
from receiver_fixture import receiver
from runbook_fixtures import make_world, sandbox_home, workspace, world, worlds
from sandbox_fixture import RunningSandbox, running_sandbox
from schedule import Schedule, order
from stand_in_fixture import stand_in, stand_in_server

from opslib.import_shims import skip_iri_checks
from opslib.redaction import redact
from opslib.sandbox.core.settings import Settings

IMAGES = Path(__file__).parent / "contract/app/own/images.yml"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each of hundreds of processes would compile opslib again
sys.dont_write_bytecode = False  # each worker would rewrite and compile all tests again
gc.disable()  # until everything is imported and collected, of which nothing can be freed
use_memory()
skip_iri_checks()  # azure-ai-ml and papermill would each import them

__all__ = [
    "estate",
    "estate_sandbox",
    "make_world",
    "receiver",
    "sandbox",
    "sandbox_home",
    "stand_in",
    "stand_in_server",
    "workspace",
    "world",
    "worlds",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: order(item.nodeid))


def pytest_collection_finish() -> None:
    """Leave out of all later garbage collections what was imported and collected: half a million objects."""
    gc.freeze()
    gc.enable()


def pytest_sessionfinish() -> None:
    close_prepared_opslib()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Schedule:
    config.option.loadscopereorder = False
    return Schedule(config, log)


@pytest.fixture(autouse=True)
def own_settings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keys and settings of the test's own, never those of whoever runs it; no secret is remembered."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "settings"))
    for name in ("OPSLIB_SIGNING_KEY", "OPSLIB_SIGNING_KEY_FILE", "OPSLIB_TRUSTED_KEYS", "OPSLIB_TIMESTAMP_URL"):
        monkeypatch.delenv(name, raising=False)
    redact.redactor.cache_clear()
    yield
    redact.redactor.cache_clear()


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """One sandbox for a whole session, with its variables set in this process and so in every child's."""
    with (
        running_sandbox(
            tmp_path_factory.mktemp("sandbox"),
            Settings(
                seed=7,
                autoscale_every_s=1.0,
                alerts_every_s=0.2,
                max_requests_per_second=100_000,
                image_map=str(IMAGES),
            ),
        ) as running,
        running.pointed(),
    ):
        yield running
