"""What the tests of the management packages import: a client for the service, and a resource group for a test."""

import inspect
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from azure.identity import DefaultAzureCredential


@dataclass(frozen=True)
class Group:
    """A resource group that a test is given."""

    name: str


class AzureMgmtRecordedTestCase:
    """The base of their test classes."""

    is_live = True

    def create_mgmt_client(self, client_class: Callable[..., Any], **options: Any) -> Any:
        """Return a client as a program makes it."""
        return client_class(DefaultAzureCredential(), os.environ["AZURE_SUBSCRIPTION_ID"], **options)

    def get_settings_value(self, name: str) -> str:
        """Return a setting of the live run."""
        return os.environ[f"AZURE_{name}"]


def recorded_by_proxy(test: Callable[..., Any]) -> Callable[..., Any]:
    """Return the test: nothing is recorded."""
    return test


class RandomNameResourceGroupPreparer:
    """Creates a resource group for a test, which is given `resource_group` and `location` if it takes them."""

    def __init__(self, location: str = "eastus", **_options: Any) -> None:
        self._location = location

    def __call__(self, test: Callable[..., Any]) -> Callable[..., Any]:
        """Return the test without parameters, since pytest would take them for fixtures."""

        def run(case: AzureMgmtRecordedTestCase) -> Any:
            from azure.mgmt.resource.resources import ResourceManagementClient  # noqa: PLC0415 - of this run alone

            group = Group(f"rgname{uuid.uuid4().hex[:12]}")
            client = case.create_mgmt_client(ResourceManagementClient)
            client.resource_groups.create_or_update(group.name, {"location": self._location})
            given = {"resource_group": group, "location": self._location}
            taken = inspect.signature(test).parameters
            return test(case, **{name: value for name, value in given.items() if name in taken})

        run.__name__ = test.__name__
        return run
