"""Which logs of an endpoint are kept: its diagnostic settings, as rows of the store."""

from typing import Any

from opslib.sandbox.arm.store import Store

CATEGORIES = ("AmlOnlineEndpointTrafficLog", "AmlOnlineEndpointConsoleLog", "AmlOnlineEndpointEventLog")
KIND = "diagnosticSettings"
_GROUPS = {"alllogs": CATEGORIES, "audit": ("AmlOnlineEndpointTrafficLog",)}


def logged(store: Store, endpoint_id: str, category: str) -> bool:
    """Return whether an enabled diagnostic setting of the endpoint keeps a category."""
    scope = f"{endpoint_id}/providers/Microsoft.Insights"
    return any(category in categories(setting.body) for setting in store.children(scope, KIND))


def groups_of(category: str) -> list[str]:
    """Return the category groups that a category is in."""
    names = {"alllogs": "allLogs", "audit": "audit"}
    return [names[group] for group, members in _GROUPS.items() if category in members]


def categories(setting: dict[str, Any]) -> set[str]:
    """Return the categories that a setting enables."""
    found: set[str] = set()
    for row in setting["properties"].get("logs") or []:
        if row.get("enabled"):
            found |= {row["category"]} if row.get("category") else set()
            found |= set(_GROUPS.get(str(row.get("categoryGroup")).lower(), ()))
    return found
