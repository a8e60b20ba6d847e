"""Quota of VM families: what online deployments take of it, and Azure's refusal when it is short."""

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.store import Store
from opslib.sandbox.core import ids, skus
from opslib.sandbox.core.settings import Settings


def cores_in_use(store: Store, subscription: str, location: str, family: str, *, beside: str = "") -> int:
    """Add up what the deployments of a subscription take in a region, one of them left out [vCPU]."""
    total = 0
    for deployment in store.all("deployments"):
        endpoint = store.get(ids.parent(deployment.id))
        here = (
            endpoint is not None
            and ids.subscription(deployment.id).lower() == subscription.lower()
            and endpoint.body["location"].lower() == location.lower()
            and deployment.key != ids.key(beside)
        )
        sku = skus.find(deployment.properties["instanceType"])
        if here and sku is not None and sku.family == family:
            total += sku.cores_needed(deployment.body["sku"]["capacity"])
    return total


def deployments_in(store: Store, subscription: str, location: str) -> int:
    """Count the online deployments of a subscription in a region."""
    here = (
        one.key
        for one in store.all("onlineEndpoints")
        if ids.subscription(one.id).lower() == subscription.lower() and one.body["location"] == location.lower()
    )
    return sum(len(store.children(endpoint, "deployments")) for endpoint in here)


def check(store: Store, settings: Settings, endpoint: Resource, deployment: Resource) -> None:
    """Refuse a deployment that needs more cores than its family has left.

    Words: MicrosoftLearning/mslearn-azure-ml#30.
    """
    sku = skus.find(deployment.properties["instanceType"])
    if sku is None:
        return
    subscription = ids.subscription(deployment.id)
    location = endpoint.body["location"]
    others = cores_in_use(store, subscription, location, sku.family, beside=deployment.id)
    usage = cores_in_use(store, subscription, location, sku.family)
    needed = sku.cores_needed(deployment.body["sku"]["capacity"])
    if others + needed > settings.quota_cores:
        raise ArmError.validation(
            "VmSize",
            f"Not enough quota available for {sku.name} in SubscriptionId {subscription}. "
            f"Current usage/limit: {usage}/{settings.quota_cores}. Additional needed: {others + needed - usage} "
            "Please see troubleshooting guide, available here: https://aka.ms/oe-tsg#error-outofquota",
            inner="InferencingClientCreateDeploymentFailed",
        )
