"""What every handler is given besides its request."""

from dataclasses import dataclass

from .consistency import Lag
from .directory import Directory
from .faults import Faults
from .fleet import Fleet
from .home import Home
from .lifecycle import Lifecycle
from .scoring import Gateway
from .settings import Settings
from .store import Store
from .telemetry import Telemetry
from .tokens import Tokens


@dataclass(frozen=True)
class Sandbox:
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
    lag: Lag
