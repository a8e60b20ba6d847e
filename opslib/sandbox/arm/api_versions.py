"""Where Azure ML's answers differ by the request's api-version.

Source: recordings that Microsoft publishes with its own clients, 2022 to 2026.
"""

from opslib.sandbox.arm.http_messages import Request

NEWEST = "2024-10-01"
"""Taken for a request without an api-version."""

FIRST = "2022-02-01-preview"
"""Its answers were recorded in 2022: plain operation URLs, defaults that appear only with a ready deployment."""

ASSETS_OF_2023 = "2023-04"
"""From here on assets show their provisioningState and stage, deployments their dataCollector."""


def api_version(request: Request) -> str:
    """Return the request's api-version, or the newest one."""
    return request.api_version or NEWEST


def is_first(request: Request) -> bool:
    """Return whether the request names the first preview."""
    return api_version(request).lower() == FIRST


def is_preview(request: Request) -> bool:
    """Return whether the request names a preview."""
    return api_version(request).lower().endswith("-preview")


def since(request: Request, month: str) -> bool:
    """Return whether the request's api-version is of a month (`2023-04`) or later."""
    return api_version(request)[:7] >= month
