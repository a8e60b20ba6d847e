"""Everything that a review judges; a part that could not be read holds the reason instead."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from opslib.access.assignments import Assignment
from opslib.model import Endpoint
from opslib.model.surroundings import Asset, KeyEvent, Unread, WorkspaceSettings


@dataclass(frozen=True)
class Facts:
    """What was read of one endpoint.

    Attributes
    ----------
    endpoint
        The endpoint and its deployments.
    at
        When it was read [UTC].
    workspace, assignments, key_events
        Settings of the workspace; role assignments on the endpoint and above it; key requests of 90 days.
    identities
        Assignments of each identity of the endpoint, by its object id.
    assets
        Models and environments of the deployments, by ARM id in lower case.
    """

    endpoint: Endpoint
    at: datetime
    workspace: WorkspaceSettings | Unread
    assignments: tuple[Assignment, ...] | Unread
    identities: Mapping[str, tuple[Assignment, ...]] | Unread
    key_events: tuple[KeyEvent, ...] | Unread
    assets: Mapping[str, Asset | Unread]
