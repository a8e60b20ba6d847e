"""List prices of instance types, from the public Retail Prices API. It needs no token.

Source: Microsoft Learn, "Azure Retail Prices overview". Values of the filter are case-sensitive.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import httpx

from opslib.azure.capacity import read_instance_types
from opslib.azure.connect import Workspace
from opslib.errors import OpsError
from opslib.model import Endpoint, Price, PriceList

API_VERSION = "2023-01-01-preview"
"""The first version that documents case-sensitive filters; older ones answer alike."""

HOSTS = {
    "https://management.azure.com": "https://prices.azure.com",
    "https://management.usgovcloudapi.net": "https://prices.azure.com",
}
"""Base URL of the prices, by the cloud's Resource Manager; a cloud that is not listed has them at its own."""

MAX_PAGES = 10
TIMEOUT_S = 10.0

_NOT_BILLED_SO = ("Spot", "Low Priority", "Windows", "Cloud Services", "CloudServices")
"""Words in the names of meters of the same size that are not Linux instances at the regular price."""


def read_prices(
    workspace: Workspace, endpoint: Endpoint, instance_types: Iterable[str], currency: str = "USD"
) -> PriceList:
    """Read the prices of instance types in the endpoint's region.

    A price that cannot be read, or of which there is more than one, is in `missing` with the reason: a cost must
    not prevent a change, and an unknown one must not count as 0.
    """
    manager = workspace.scope.resource_manager
    url = f"{HOSTS.get(manager, manager)}/api/retail/prices"
    region = str(endpoint.arm["location"]).replace(" ", "").lower()
    wanted = {name.lower(): name for name in instance_types}
    prices: dict[str, Price] = {}
    missing: dict[str, str] = {}
    published = cache(lambda: _published_names(workspace, endpoint))
    with httpx.Client(verify=workspace.tls, timeout=TIMEOUT_S) as client:
        for key, name in wanted.items():
            try:
                items = _read(client, url, region, name, currency)
                if not items and (other := published().get(key, name)) != name:
                    items = _read(client, url, region, other, currency)
                prices[key] = only_price(items, name, currency)
            except httpx.TransportError as error:
                missing |= dict.fromkeys(wanted.keys() - prices.keys(), f"{url} does not answer: {error}")
                break
            except LookupError as error:
                missing[key] = str(error.args[0])
    return PriceList(url, region, currency, datetime.now(UTC), prices, missing)


def _published_names(workspace: Workspace, endpoint: Endpoint) -> dict[str, str]:
    """Return the region's instance types as Azure publishes them, by lower case: a deployment's may be in any."""
    try:
        return {one.name.lower(): one.name for one in read_instance_types(workspace, endpoint)}
    except OpsError:
        return {}


def _read(client: httpx.Client, url: str, region: str, name: str, currency: str) -> list[dict[str, Any]]:
    """Read all items of an instance type; raise LookupError where the API refuses the question."""
    query = {
        "api-version": API_VERSION,
        "$filter": f"serviceName eq 'Virtual Machines' and armRegionName eq '{region}' and armSkuName eq '{name}' "
        "and priceType eq 'Consumption'",
        **({} if currency == "USD" else {"currencyCode": f"'{currency}'"}),
    }
    items: list[dict[str, Any]] = []
    response = client.get(url, params=query)
    for _ in range(MAX_PAGES):
        try:
            page = response.raise_for_status().json(parse_float=Decimal)
        except (httpx.HTTPStatusError, ValueError) as error:
            raise LookupError(f"{url} answered {response.status_code} {_reason(response)}".rstrip()) from error
        items += page.get("Items") or []
        following = str(page.get("NextPageLink") or "")
        if not following.startswith(url):
            break
        response = client.get(following)
    return items


def only_price(items: list[dict[str, Any]], name: str, currency: str) -> Price:
    """Return the price of a Linux instance, paid as it is used; raise LookupError unless there is exactly one."""
    regular = [
        item
        for item in items
        if not any(word in f"{item['skuName']} {item['productName']}" for word in _NOT_BILLED_SO)
        and item["unitOfMeasure"] == "1 Hour"
        and item["currencyCode"] == currency
    ]
    amounts = {Decimal(item["retailPrice"]) for item in regular}
    if len(amounts) != 1:
        seen = f"{len(amounts)} different prices" if amounts else "no price"
        raise LookupError(f"the source has {seen} in {currency} for this region, expected one")
    since = max(str(item["effectiveStartDate"]) for item in regular)
    return Price(name, amounts.pop(), since)


def _reason(response: httpx.Response) -> str:
    """Return the message of an error, if the answer has one."""
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase
