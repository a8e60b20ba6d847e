"""Probes: what keeps an instance in rotation, takes it out, and has it restarted.

Source: MicrosoftDocs, reference-yaml-deployment-managed-online.md, ProbeSettings; the words of the events
are those of AmlOnlineEndpointEventLog.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from opslib.sandbox.core.clock import parse_duration_s

Ask = Callable[[float], Awaitable[bool]]  # one request with a timeout [s]; whether the answer was 200


@dataclass(frozen=True)
class ProbeSettings:
    """One probe's settings; thresholds count answers in a row."""

    initial_delay_s: float
    period_s: float
    timeout_s: float
    success_threshold: int
    failure_threshold: int

    @property
    def timeout_total_s(self) -> float:
        """Return how long something may take that has not answered yet."""
        return self.initial_delay_s + self.period_s * self.failure_threshold


@dataclass(frozen=True)
class Probes:
    """The probes of a deployment."""

    liveness: ProbeSettings
    readiness: ProbeSettings
    startup: ProbeSettings | None

    @property
    def start_within_s(self) -> float:
        """Return how long an instance may take to become ready: liveness waits for a startup probe only."""
        if self.startup is not None:
            return self.startup.timeout_total_s + self.readiness.timeout_total_s
        return min(self.liveness.timeout_total_s, self.readiness.timeout_total_s)


def read_probes(properties: dict[str, Any]) -> Probes:
    """Read a deployment's probes; its body has every default filled in, a startup probe's own aside."""
    startup = properties.get("startupProbe")
    defaults = properties["livenessProbe"]
    return Probes(
        _read(properties["livenessProbe"]),
        _read(properties["readinessProbe"]),
        _read({**defaults, **{key: value for key, value in startup.items() if value is not None}})
        if startup
        else None,
    )


async def until_dead(probe: ProbeSettings, ask: Ask, failed: Callable[[], None]) -> None:
    """Return when liveness has failed as often in a row as it may."""
    await asyncio.sleep(probe.initial_delay_s)
    failures = 0
    while failures < probe.failure_threshold:
        if await ask(probe.timeout_s):
            failures = 0
        else:
            failures += 1
            failed()
        await asyncio.sleep(probe.period_s if failures < probe.failure_threshold else 0)


async def keep_ready(
    probe: ProbeSettings, ask: Ask, turn: Callable[[bool], None], failed: Callable[[], None]
) -> None:
    """Turn an instance out of rotation and back in, for as long as it lives."""
    ready, streak = True, 0
    while True:
        await asyncio.sleep(probe.period_s)
        answered = await ask(probe.timeout_s)
        if not answered:
            failed()
        streak = streak + 1 if answered != ready else 0
        if streak >= (probe.success_threshold if answered else probe.failure_threshold):
            ready, streak = answered, 0
            turn(ready)


def _read(settings: dict[str, Any]) -> ProbeSettings:
    return ProbeSettings(
        parse_duration_s(settings["initialDelay"]),
        parse_duration_s(settings["period"]),
        parse_duration_s(settings["timeout"]),
        int(settings["successThreshold"]),
        int(settings["failureThreshold"]),
    )
