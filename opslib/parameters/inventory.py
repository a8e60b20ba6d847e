"""The parameters of the inventory runbook."""

from typing import ClassVar, Literal

from pydantic import Field

from opslib.runbook_parameters import Name, RunbookParameters


class InventoryParameters(RunbookParameters):
    """List all deployments that the caller can read, with their cost, requests, owner and last change."""

    runbook: ClassVar[str] = "inventory"
    changes: ClassVar[bool] = False

    endpoint: Name | Literal[""] = Field(default="", description="only endpoints of this name; empty: all")
    subscriptions: list[str] = Field(default=[], description="only these subscriptions, by id; empty: all")
    groups: list[str] = Field(default=[], description="only these resource groups; empty: all")
    workspaces: list[str] = Field(default=[], description="only these workspaces; empty: all")
    definitions: str = Field(
        default="", description="folder whose policies name the owners, searched with its subfolders; empty: none"
    )
    route: Literal["auto", "graph", "lists"] = Field(
        default="auto", description='"graph" (Azure Resource Graph), "lists", or "auto": lists where it refuses'
    )
