"""The service's rules for a deployment's definition that can be checked without Azure.

Sources: Microsoft's reference-yaml-deployment-managed-online.md (fields, request settings, probes),
how-to-manage-quotas.md (names, limits), and azure-ai-ml 1.35, ManagedOnlineDeploymentSchema (what it refuses before
it sends a request).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from opslib.definitions.asset_rules import (
    check_environment,
    check_files,
    check_pinned,
    check_references,
    check_script,
)
from opslib.definitions.deployment import DeploymentDefinition
from opslib.definitions.shape_rules import (
    check_collector_form,
    check_empty,
    check_forms,
    check_image,
    check_model,
    check_mount,
    check_nested_fields,
    check_registry_references,
)
from opslib.definitions.violation import Severity, Violation, fix_name, quoted

__all__ = ["RULES", "Severity", "Violation", "check_deployment"]

NAME_PATTERN = re.compile(r"[a-zA-Z](?:-?[a-zA-Z0-9])*")
NAME_LENGTHS = range(3, 33)
MAX_INSTANCES = 50
MAX_REQUEST_TIMEOUT_MS = 180_000
MAX_TAGS = 50

FIELDS = frozenset(
    {
        *("$schema", "name", "description", "tags", "properties", "endpoint_name", "type"),
        *("model", "model_mount_path", "code_configuration", "environment", "environment_variables"),
        *("instance_type", "instance_count", "scale_settings", "request_settings"),
        *("liveness_probe", "readiness_probe", "private_network_connection"),
        *("egress_public_network_access", "app_insights_enabled", "data_collector"),
    }
)
OF_THE_SERVICE = frozenset({"id", "provisioning_state", "creation_context"})
"""Fields that `az ml online-deployment show` prints, and that a creation ignores."""

WORDS = (
    *("name", "endpoint_name", "description", "instance_type", "model_mount_path", "type"),
    *("code_configuration.code", "code_configuration.scoring_script"),
)
"""Fields that hold text: an unquoted ``on`` or ``123`` is none."""

PROBES = ("liveness_probe", "readiness_probe")
PERIOD_S, TIMEOUT_S = 10, 2
"""The service's defaults of a probe [seconds]. Source: GET of a deployment, recorded 2024 and 2025."""


def check_deployment(definition: DeploymentDefinition) -> tuple[Violation, ...]:
    """Check a definition against every rule; an empty tuple means that none is broken."""
    return tuple(violation for rule in RULES for violation in rule(definition))


def check_name(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Names: 3 to 32 characters, a letter first, single dashes between letters and digits."""
    for field, value in (("name", definition.name), ("endpoint_name", definition.endpoint)):
        if not isinstance(definition.source.get(field), str):
            continue  # named by the rule of text
        if len(value) not in NAME_LENGTHS or not NAME_PATTERN.fullmatch(value):
            expected = "3 to 32 letters, digits and single dashes, a letter first, no dash at the end"
            better = re.sub(r"-{2,}", "-", re.sub(r"[^a-zA-Z0-9-]", "-", value)).strip("-")
            good = NAME_PATTERN.fullmatch(better) and len(better) in NAME_LENGTHS
            fix = f"Rename it, for example to {better}." if good else "Rename it."
            yield definition.violation("name", field, repr(value), expected, fix)


def check_fields(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Fields: azure-ai-ml refuses a field that it does not know."""
    for field in definition.source.content:
        if field in OF_THE_SERVICE:
            seen, expected = "set by the service", "a definition without it"
            yield definition.violation("unknown-field", field, seen, expected, "Remove it.", Severity.WARNING)
        elif field == "startup_probe":
            expected = "a definition without it: azure-ai-ml 1.35 refuses it"
            fix = "Remove it, and give the liveness probe a longer initial_delay."
            yield definition.violation("unknown-field", field, "there", expected, fix)
        elif field not in FIELDS:
            expected = "a field of the managed online deployment schema"
            yield definition.violation("unknown-field", str(field), "not known", expected, fix_name(field, FIELDS))


def check_words(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Text, words and switches: quoted where YAML would read something else."""
    for field in WORDS:
        value = definition.source.get(field)
        if value is not None and not isinstance(value, str):
            fix = f"Quote it: {field.rpartition('.')[2]}: {quoted(value)}."
            yield definition.violation("text", field, repr(value), "text", fix)
    for field in ("app_insights_enabled", "private_network_connection"):
        value = definition.source.get(field)
        if value is not None and str(value).lower() not in {"true", "false", "yes", "no", "on", "off", "1", "0"}:
            yield definition.violation("switch", field, repr(value), "true or false", "Correct it.")
    value = definition.source.get("egress_public_network_access")
    if value is not None and str(value).lower() not in {"enabled", "disabled"}:
        fix = "YAML reads an unquoted off as false: write disabled." if value is False else "Correct it."
        yield definition.violation(
            "egress", "egress_public_network_access", repr(value), "enabled or disabled", fix
        )


def check_texts(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Tags, properties and environment variables hold text; az turns unquoted environment variables into text."""
    for section in ("tags", "properties", "environment_variables"):
        values = definition.source.get(section)
        if values is None:
            continue
        if not isinstance(values, Mapping):
            yield definition.violation("text", section, repr(values), "a mapping of names to text", "Correct it.")
            continue
        if section == "tags" and len(values) > MAX_TAGS:
            seen, expected = f"{len(values)} tags", f"at most {MAX_TAGS}"
            yield definition.violation("text", section, seen, expected, "Remove some.")
        for name, value in values.items():
            if not isinstance(value, str):
                fix = f"Quote it: {name}: {quoted(value)}."
                yield definition.violation("text", f"{section}.{name}", repr(value), "text in quotes", fix)
    for name in definition.converted:
        value = definition.source.get("environment_variables")[name]
        seen = f"unquoted; it is sent as the text {value!r}, as az sends it"
        fix = f'Quote it: {name}: "{value}".'
        yield definition.violation(
            "text", f"environment_variables.{name}", seen, "text in quotes", fix, Severity.NOTE
        )


def check_instances(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Instances: 1 to 50; scaling of a managed deployment is Azure Monitor autoscale, not a field of it."""
    if definition.instance_count > MAX_INSTANCES:
        seen, expected = str(definition.instance_count), f"at most {MAX_INSTANCES} instances"
        fix = "Use fewer, or raise the quota."
        yield definition.violation("instances", "instance_count", seen, expected, fix)
    settings = definition.source.get("scale_settings")
    if settings is None:
        return
    fix = "Remove scale_settings; scale a managed deployment by an Azure Monitor autoscale setting."
    if not isinstance(settings, Mapping):
        yield definition.violation("scale-settings", "scale_settings", repr(settings), "{type: default}", fix)
        return
    kind = settings.get("type") or "default"
    if str(kind).lower() != "default":
        expected = "default (target_utilization is for Kubernetes deployments)"
        yield definition.violation("scale-settings", "scale_settings.type", repr(kind), expected, fix)
        return
    for field in settings.keys() - {"type"}:
        expected = "no other field beside type: default"
        yield definition.violation("scale-settings", f"scale_settings.{field}", "there", expected, fix)


def check_request_settings(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Request settings: a timeout of 1 to 180,000 ms, at least one request at a time."""
    limits = {
        "request_timeout_ms": (1, MAX_REQUEST_TIMEOUT_MS),
        "max_concurrent_requests_per_instance": (1, None),
        "max_queue_wait_ms": (0, None),
    }
    yield from _check_numbers(definition, "request_settings", limits)


def check_probes(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Probes: whole seconds and counts of at least 1; a liveness probe succeeds at the first success."""
    seconds = dict.fromkeys(("initial_delay", "period", "timeout"), (1, None))
    counts = {"failure_threshold": (1, None), "success_threshold": (1, None)}
    for probe in PROBES:
        limits: dict[str, tuple[int, int | None]] = {**seconds, **counts}
        if probe == "liveness_probe":
            limits["success_threshold"] = (1, 1)
        broken = tuple(_check_numbers(definition, probe, limits))
        yield from broken
        values = definition.source.get(probe)
        if broken or not isinstance(values, Mapping):
            continue
        timeout, period = (int(values.get(n) or d) for n, d in (("timeout", TIMEOUT_S), ("period", PERIOD_S)))
        if timeout > period:
            seen, expected = f"{timeout} s", f"at most its period, {period} s: the next probe starts before it ends"
            fix = f"Use a timeout of at most {period}, or a longer period."
            yield definition.violation("probe", f"{probe}.timeout", seen, expected, fix, Severity.WARNING)


def check_data_collector(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Data collector: each collection is enabled by a word in quotes; the sampling rate is a fraction."""
    collections = definition.source.get("data_collector.collections")
    for name, one in (collections if isinstance(collections, Mapping) else {}).items():
        enabled = one.get("enabled") if isinstance(one, Mapping) else None
        if not isinstance(enabled, str) or enabled.lower() not in {"true", "false"}:
            field, fix = f"data_collector.collections.{name}.enabled", f"Quote it: enabled: {quoted(enabled)}."
            yield definition.violation("data-collector", field, repr(enabled), '"true" or "false" in quotes', fix)
    rate = definition.source.get("data_collector.sampling_rate")
    if rate is not None and not (isinstance(rate, int | float) and 0 <= rate <= 1):
        expected = "a fraction, 0 to 1"
        yield definition.violation(
            "data-collector", "data_collector.sampling_rate", repr(rate), expected, "Correct it."
        )


RULES: tuple[Callable[[DeploymentDefinition], Iterator[Violation]], ...] = (
    check_name,
    check_fields,
    check_empty,
    check_forms,
    check_nested_fields,
    check_words,
    check_texts,
    check_instances,
    check_request_settings,
    check_probes,
    check_data_collector,
    check_collector_form,
    check_references,
    check_registry_references,
    check_model,
    check_image,
    check_mount,
    check_environment,
    check_files,
    check_script,
    check_pinned,
)


def _check_numbers(
    definition: DeploymentDefinition, section: str, limits: Mapping[str, tuple[int, int | None]]
) -> Iterator[Violation]:
    values = definition.source.get(section)
    if values is None:
        return
    if not isinstance(values, Mapping):
        expected = f"a mapping with {', '.join(limits)}"
        yield definition.violation("number", section, repr(values), expected, "Correct it.")
        return
    for name, value in values.items():
        field = f"{section}.{name}"
        if name not in limits:
            expected = f"one of {', '.join(limits)}"
            yield definition.violation("unknown-field", field, "not known", expected, fix_name(name, limits))
            continue
        least, most = limits[str(name)]
        if value is not None and not _is_whole(value, least, most):
            expected = (
                f"a whole number of at least {least}" if most is None else f"a whole number, {least} to {most:,}"
            )
            yield definition.violation("number", field, repr(value), expected, "Change it.")


def _is_whole(value: Any, least: int, most: int | None) -> bool:
    whole = isinstance(value, float) and value.is_integer()
    number = int(value) if whole or (isinstance(value, str) and value.isascii() and value.isdigit()) else value
    if not isinstance(number, int) or isinstance(number, bool):
        return False
    return number >= least and (most is None or number <= most)
