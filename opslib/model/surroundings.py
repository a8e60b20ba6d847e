"""What surrounds an endpoint, as far as a review reads it: workspace, keys, assets; or why it could not be read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Unread:
    """A part that could not be read."""

    reason: str


@dataclass(frozen=True)
class KeyEvent:
    """A request about an endpoint's keys, as the activity log has it: `listKeys` or `regenerateKeys`."""

    operation: str
    at: datetime
    caller: str
    succeeded: bool


@dataclass(frozen=True)
class WorkspaceSettings:
    """What of the workspace protects its endpoints.

    `isolation` is the managed network's isolation mode; storage and registry are ARM ids, "" for none.
    """

    id: str
    public_network_access: str
    isolation: str
    storage: str
    registry: str


@dataclass(frozen=True)
class Asset:
    """A registered model or environment version that a deployment uses.

    Attributes
    ----------
    found
        Whether the workspace still has it.
    anonymous
        Whether it was registered by a deployment, under a name made of its content.
    tags
        Tags of the version.
    image, conda
        Base image and conda file of an environment; "" for none.
    """

    id: str
    found: bool
    anonymous: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    conda: str = ""
