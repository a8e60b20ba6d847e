import json
import re
from pathlib import Path
from typing import Any

from opslib.sandbox.arm.routing import Known
from opslib.sandbox.cli.support import SUPPORT, matrix
from opslib.sandbox.server.routes import ROUTES

RECORDED = Path(__file__).parents[2] / "contract" / "recorded"


def test_the_support_matrix_is_that_of_the_routes():
    """SUPPORT.md follows routes, faults and differences: else run `python -m opslib.sandbox.cli.support`."""
    assert SUPPORT.read_text(encoding="utf-8") == matrix()


def test_what_is_called_recorded_was_compared_with_a_recording():
    """The routes that SUPPORT.md calls recorded are those of tests/contract/recorded, no more and no fewer."""
    recorded = {_route(row["method"], row["path"]) for path in RECORDED.glob("*.json") for row in _rows(path)}
    assert recorded == {(one.method, one.operation) for one in ROUTES if one.known is Known.RECORDED}


def _rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def _route(method: str, path: str) -> tuple[str, str]:
    """Return the route that answers a recorded exchange."""
    workspace = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
    for long, short in {
        "{W}": workspace,
        "{scope}": f"{workspace}/onlineEndpoints/e",
        "https://{account}.blob.core.windows.net": "/blob/a",
        "https://{endpoint}.{location}.inference.ml.azure.com": "/inference/l/e",
    }.items():
        path = path.replace(long, short)
    kinds = {"{kind:codes|environments|models|data|components}": "(?:codes|environments|models|data|components)"}
    for route in ROUTES:
        template = route.template
        for long, pattern in kinds.items():
            template = template.replace(long, pattern)
        template = re.sub(r"\{\w+\*\}", ".+", re.sub(r"\{\w+\}", "[^/]+", template))
        if route.method == method and re.fullmatch(template, path.partition("?")[0], re.IGNORECASE):
            return method, route.operation
    raise AssertionError(f"no route for {method} {path}")


def test_every_route_has_a_line():
    """No operation is missing from the matrix."""
    assert all(f"| {route.operation} | {route.method} |" in matrix() for route in ROUTES)
