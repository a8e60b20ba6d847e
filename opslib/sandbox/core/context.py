"""What every handler is given besides its request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the parts live in rooms above this one
    from opslib.sandbox.arm.store import Store
    from opslib.sandbox.core.home import Home
    from opslib.sandbox.core.settings import Settings
    from opslib.sandbox.endpoints.consistency import ReadLag
    from opslib.sandbox.endpoints.lifecycle import Lifecycle
    from opslib.sandbox.faults.registry import Faults
    from opslib.sandbox.graph.quota import UserQuota
    from opslib.sandbox.identity.directory import Directory
    from opslib.sandbox.identity.tokens import Tokens
    from opslib.sandbox.instances.fleet import Fleet
    from opslib.sandbox.scoring.gateway import Gateway
    from opslib.sandbox.telemetry.telemetry import Telemetry
    from opslib.sandbox.templates.deployments import TemplateDeployments


@dataclass(frozen=True)
class Backend:
    """One running sandbox: its parts, wired once in `daemon`."""

    settings: Settings
    home: Home
    base_url: str
    identity_header: str
    store: Store
    directory: Directory
    tokens: Tokens
    telemetry: Telemetry
    fleet: Fleet
    lifecycle: Lifecycle
    gateway: Gateway
    faults: Faults
    read_lag: ReadLag
    graph_quota: UserQuota
    templates: TemplateDeployments
