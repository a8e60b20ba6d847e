"""Autoscale settings as fields that are compared, and the instance counts that they explain. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from opslib.autoscale.setting import ScaleSetting, read_setting
from opslib.drift.fields import Setting, Settings

TARGET = "properties.targetResourceUri"
"""The field that names the deployment of a setting."""

Ranges = Mapping[str, tuple[int, int]]
"""Fewest and most instances that an enabled setting allows, by the deployment's ARM id in lower case."""


def read_autoscale_settings(arm: Mapping[str, Any]) -> dict[str, Setting]:
    """Return the fields of an autoscale setting: its deployment, and the range and rules of each profile.

    Raises
    ------
    UnexpectedAnswer
        If it has another form.
    """
    return dict(_fields(read_setting(arm)))


def instance_ranges(settings: Iterable[Settings]) -> Ranges:
    """Return the range of instances in which Azure may change a deployment by itself, over all profiles."""
    ranges: dict[str, tuple[int, int]] = {}
    for one in settings:
        if one["properties.enabled"].compared:
            lowest = min(value.compared for path, value in one.items() if path.endswith(".minimum"))
            highest = max(value.compared for path, value in one.items() if path.endswith(".maximum"))
            ranges[one[TARGET].compared] = (lowest, highest)
    return ranges


def _fields(setting: ScaleSetting) -> Iterator[tuple[str, Setting]]:
    yield "properties.enabled", Setting(setting.enabled, setting.enabled)
    yield TARGET, Setting(setting.target, f"/{setting.target.strip('/').lower()}")
    for profile in setting.profiles:
        shown: dict[str, Any] = {
            "minimum": profile.minimum,
            "maximum": profile.maximum,
            "default": profile.default,
            "when": profile.when,
            "rules": [f"{rule}, then rest {rule.cooldown_s / 60:g} min" for rule in profile.rules],
        }
        for name, value in shown.items():
            yield f"properties.profiles.{profile.name}.{name}", Setting(value, value)
