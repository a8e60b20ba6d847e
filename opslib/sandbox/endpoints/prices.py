"""Handlers: the retail prices API, and its table.

List prices in USD per hour, Linux, pay-as-you-go, East US, of early 2025; they are here so that a cost can be
worked out, not to be paid. Compared in November 2026 with skypilot-org/skypilot-catalog, catalogs/v6/azure/vms.csv
(made from Azure's own Retail Prices API): equal for all sizes looked up, among them every GPU size, DSv2 and
FSv2; E2s, E4s and E16s (v3), D4a and D8a (v4) are in proportion to their sisters E8s and D2a. Spot and Windows
are rules of thumb. Shape: Microsoft Learn, "Azure Retail Prices overview".
"""

import re
import uuid
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.routing import Auth, Route
from opslib.sandbox.core import skus
from opslib.sandbox.core.context import Backend

AS_OF = "2025-01-01T00:00:00Z"
REGION = "eastus"
USD_PER_HOUR = {
    "Standard_DS1_v2": 0.073,
    "Standard_DS2_v2": 0.146,
    "Standard_DS3_v2": 0.293,
    "Standard_DS4_v2": 0.585,
    "Standard_DS5_v2": 1.17,
    "Standard_F2s_v2": 0.0846,
    "Standard_F4s_v2": 0.169,
    "Standard_F8s_v2": 0.338,
    "Standard_F16s_v2": 0.677,
    "Standard_F32s_v2": 1.353,
    "Standard_E2s_v3": 0.126,
    "Standard_E4s_v3": 0.252,
    "Standard_E8s_v3": 0.504,
    "Standard_E16s_v3": 1.008,
    "Standard_D2a_v4": 0.096,
    "Standard_D4a_v4": 0.192,
    "Standard_D8a_v4": 0.384,
    "Standard_NC4as_T4_v3": 0.526,
    "Standard_NC6s_v3": 3.06,
    "Standard_NC24ads_A100_v4": 3.673,
    "Standard_NC48ads_A100_v4": 7.346,
    "Standard_NC96ads_A100_v4": 14.692,
    "Standard_NC40ads_H100_v5": 6.98,
    "Standard_NC80adis_H100_v5": 13.96,
    "Standard_ND96amsr_A100_v4": 32.77,
    "Standard_ND96asr_v4": 27.197,
    "Standard_ND40rs_v2": 22.032,
    "Standard_ND96isr_H100_v5": 98.32,
}
_SPOT, _WINDOWS = 0.11, 0.046  # share of the price; USD per hour for each vCPU on top of it
_CONDITION = re.compile(r"(\w+) eq '([^']*)'")
_FIELDS = {
    "serviceName": "serviceName",
    "armRegionName": "armRegionName",
    "armSkuName": "armSkuName",
    "priceType": "type",
    "skuName": "skuName",
    "serviceFamily": "serviceFamily",
}
_PAGE = 100


def list_prices(request: Request, sandbox: Backend) -> Response:
    """`GET /api/retail/prices`: needs no token; values of `$filter` are case-sensitive, as on Azure."""
    if request.query.get("currencyCode", "USD").strip("'") != "USD":
        raise ArmError.bad_request("The sandbox knows prices in USD only: leave currencyCode out.")
    wanted = _CONDITION.findall(request.query.get("$filter", ""))
    if unknown := {field for field, _ in wanted} - set(_FIELDS):
        raise ArmError.bad_request(f"The $filter's {sorted(unknown)} is not understood: use {', '.join(_FIELDS)}.")
    rows = [row for row in _rows() if all(row[_FIELDS[field]] == value for field, value in wanted)]
    skip = int(text) if (text := request.query.get("$skip", "0")).isdigit() else 0
    following = None
    if skip + _PAGE < len(rows):
        following = f"{sandbox.base_url}/api/retail/prices?$skip={skip + _PAGE}"
    items = rows[skip : skip + _PAGE]
    body = {"BillingCurrency": "USD", "CustomerEntityId": "Default", "CustomerEntityType": "Retail", "Items": items}
    return Response(200, {**body, "NextPageLink": following, "Count": len(items)})


def estimated(sku: skus.Sku) -> list[dict[str, Any]]:
    """Return a size's price as `vmSizes` shows it."""
    price = USD_PER_HOUR.get(sku.name)
    return [] if price is None else [{"retailPrice": price, "osType": "Linux", "vmTier": "Standard"}]


def _rows() -> list[dict[str, Any]]:
    """Return each size three times: plain, Spot and Windows; a client must choose the plain one."""
    rows = []
    for name, price in USD_PER_HOUR.items():
        sku = skus.find(name)
        licence = _WINDOWS * (sku.cores if sku is not None else 0)
        rows += [_row(name, price, "", ""), _row(name, price * _SPOT, " Spot", "")]
        rows.append(_row(name, price + licence, "", " Windows"))
    return rows


def _row(name: str, price: float, spot: str, windows: str) -> dict[str, Any]:
    short = name.removeprefix("Standard_").replace("_", " ")
    meter = str(uuid.uuid5(uuid.NAMESPACE_URL, name + spot + windows))
    return {
        "currencyCode": "USD",
        "tierMinimumUnits": 0.0,
        "retailPrice": round(price, 6),
        "unitPrice": round(price, 6),
        "armRegionName": REGION,
        "location": "US East",
        "effectiveStartDate": AS_OF,
        "meterId": meter,
        "meterName": short + spot,
        "productId": "DZH" + meter[:9].upper(),
        "skuId": "DZH" + meter[:9].upper() + "/0001",
        "productName": f"Virtual Machines {short.split(' ', maxsplit=1)[0]} Series{windows}",
        "skuName": short + spot,
        "serviceName": "Virtual Machines",
        "serviceId": "DZH313Z7MMC8",
        "serviceFamily": "Compute",
        "unitOfMeasure": "1 Hour",
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        "armSkuName": name,
    }


ROUTES = (Route("GET", "/api/retail/prices", "RetailPrices_List", list_prices, Auth.OPEN),)
