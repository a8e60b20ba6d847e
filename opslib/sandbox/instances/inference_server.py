"""gunicorn with Microsoft's inference server; what does not depend on a deployment is made before it is known.

`launch.py` loads it by its path, so it imports nothing of the sandbox. A deployment configures gunicorn as in its
container: by `GUNICORN_CMD_ARGS`, and by a `gunicorn.conf.py` in its folder.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from gunicorn.app import base  # type: ignore[import-untyped]
from gunicorn.app.wsgiapp import WSGIApplication  # type: ignore[import-untyped]
from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]
from gunicorn.config import Config  # type: ignore[import-untyped]

_MOST_PATIENT_S = 10.0
_USAGE = "%(prog)s [OPTIONS] [APP_MODULE]"
_PACKAGE = "azureml_inference_server_http.server."
_FOR_INSIGHTS = (
    "azure.monitor.opentelemetry.exporter",
    "opentelemetry",
    "opentelemetry._logs",
    "opentelemetry.sdk._logs",
    "opentelemetry.sdk._logs.export",
    "opentelemetry.sdk.resources",
    "opentelemetry.sdk.trace",
    "opentelemetry.sdk.trace.export",
    "opentelemetry.sdk.trace.sampling",
    "opentelemetry.semconv.resource",
)
"""What the server's client of Application Insights imports, and uses only where a deployment enables it."""


class Defaults(Config):  # type: ignore[misc]
    """gunicorn's default settings, with the parser of its arguments: of the time until a worker starts a third."""

    def __init__(self) -> None:
        super().__init__(_USAGE)
        self._parser: argparse.ArgumentParser = super().parser()
        if "control_socket_disable" in self.settings:  # since gunicorn 25.1
            self.set("control_socket_disable", True)  # it would be ~/.gunicorn/gunicorn.ctl, for all instances one

    def parser(self) -> argparse.ArgumentParser:
        """Return the parser."""
        return self._parser


_made: list[Defaults] = []


def prepare() -> None:
    """Make the defaults of the next server of this process or of a fork."""
    _made[:] = [Defaults()]


class PatientArbiter(Arbiter):  # type: ignore[misc]
    """gunicorn's main process, which without a signal looks for workers that hang, and for nothing else."""

    def wait_for_signals(self, timeout: float = 1.0) -> Any:
        """Wait for signals up to a thirtieth of the time after which a worker hangs, not always for a second."""
        return super().wait_for_signals(max(timeout, min(self.timeout / 30, _MOST_PATIENT_S)))


base.Arbiter = PatientArbiter  # what an application runs


class Server(WSGIApplication):  # type: ignore[misc]
    """gunicorn's application."""

    def __init__(self) -> None:
        super().__init__(_USAGE)

    def load_default_config(self) -> None:
        """Begin with the defaults."""
        self.cfg = _made.pop() if _made else Defaults()

    def load_wsgiapp(self) -> Any:
        """Import the inference server and, by it, the scoring script."""
        if self.app_uri.startswith(_PACKAGE):
            import_insights_client()
        return super().load_wsgiapp()


def import_insights_client() -> None:
    """Import the client of Application Insights without its exporters, unless the deployment enables it.

    They would take most of the time and memory of a start. A scoring script that imports them finds the real ones.
    """
    try:
        config = import_module(_PACKAGE + "config").config
        if config.app_insights_enabled and config.app_insights_key:
            return
        with _stand_ins(_FOR_INSIGHTS):
            import_module(_PACKAGE + "appinsights_client")
    except (ImportError, AttributeError):  # another version of the server: it imports what it needs
        sys.modules.pop(_PACKAGE + "appinsights_client", None)


@contextmanager
def _stand_ins(names: tuple[str, ...]) -> Iterator[None]:
    """Have modules that were not imported replaced by empty ones for a moment."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update((name, _StandIn(name)) for name in absent)
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


class _StandIn(ModuleType):
    """A module from which any name can be imported; nothing uses them."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None
