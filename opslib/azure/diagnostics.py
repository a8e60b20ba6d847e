"""The diagnostic settings of an endpoint: which logs and metrics are kept, and where."""

from dataclasses import dataclass

from opslib.azure.arm import Json
from opslib.azure.connect import Workspace
from opslib.azure.resource import read_resource
from opslib.model import Endpoint

DIAGNOSTICS_API_VERSION = "2021-05-01-preview"


@dataclass(frozen=True)
class DiagnosticSetting:
    """One diagnostic setting.

    Attributes
    ----------
    name
        The setting's name.
    log_analytics
        ARM id of the Log Analytics workspace that it writes to, else empty.
    categories
        Enabled categories of logs and metrics; ``allLogs`` where a group stands for all of them.
    """

    name: str
    log_analytics: str
    categories: frozenset[str]

    def keeps(self, category: str) -> bool:
        """Return whether it keeps a category of logs."""
        return category in self.categories or "allLogs" in self.categories


def read_diagnostics(workspace: Workspace, endpoint: Endpoint) -> tuple[DiagnosticSetting, ...]:
    """Read the diagnostic settings of an endpoint."""
    path = f"{endpoint.id}/providers/Microsoft.Insights/diagnosticSettings"
    rows = workspace.arm.list(path, DIAGNOSTICS_API_VERSION)
    return tuple(_setting(read_resource(row, path)) for row in rows)


def _setting(row: Json) -> DiagnosticSetting:
    properties = row["properties"]
    kept = [*(properties.get("logs") or []), *(properties.get("metrics") or [])]
    names = (one.get("category") or one.get("categoryGroup") for one in kept if one.get("enabled"))
    return DiagnosticSetting(
        str(row.get("name")),
        str(properties.get("workspaceId") or ""),
        frozenset(str(name) for name in names if name),
    )
