"""The service's rules for a deployment's definition that can be checked without Azure.

Sources: Microsoft's reference-yaml-deployment-managed-online.md (fields, request settings, probes),
how-to-manage-quotas.md (names, limits), and azure-ai-ml 1.35 (what it refuses before it sends a request).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from opslib.definitions.deployment import DeploymentDefinition, Serving

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
        *("liveness_probe", "readiness_probe", "startup_probe"),
        *("egress_public_network_access", "app_insights_enabled", "data_collector"),
    }
)
PROBES = ("liveness_probe", "readiness_probe", "startup_probe")


class Severity(StrEnum):
    """What a broken rule does to a change."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Violation:
    """A rule that a definition breaks.

    Attributes
    ----------
    rule
        The rule's name, as reports list it.
    field
        Dotted name of the field.
    line
        Its line in the file, from 1 on.
    seen, expected, fix
        What is there, what should be, and what to do about it.
    """

    rule: str
    field: str
    line: int
    seen: str
    expected: str
    fix: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        """One sentence, without the file's name."""
        return f"line {self.line}: {self.field} is {self.seen}; expected {self.expected}"


def check_deployment(definition: DeploymentDefinition) -> tuple[Violation, ...]:
    """Check a definition against every rule; an empty tuple means that none is broken."""
    return tuple(violation for rule in RULES for violation in rule(definition))


def check_name(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Names: 3 to 32 characters, a letter first, single dashes between letters and digits."""
    for field, value in (("name", definition.name), ("endpoint_name", definition.endpoint)):
        if len(value) not in NAME_LENGTHS or not NAME_PATTERN.fullmatch(value):
            expected = "3 to 32 letters, digits and single dashes, a letter first, no dash at the end"
            better = re.sub(r"-{2,}", "-", re.sub(r"[^a-zA-Z0-9-]", "-", value)).strip("-")
            fix = f"Rename it, for example to {better}." if NAME_PATTERN.fullmatch(better) else "Rename it."
            yield _violation(definition, "name", field, repr(value), expected, fix)


def check_fields(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Fields: a misspelt one is ignored or refused by the SDK."""
    for field in definition.source.content:
        if field not in FIELDS:
            near = get_close_matches(str(field), FIELDS, 1)
            fix = f"Did you mean {near[0]}?" if near else "Remove it."
            expected = "a field of the managed online deployment schema"
            yield _violation(definition, "unknown-field", str(field), "not known", expected, fix)


def check_texts(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Tags, properties and environment variables hold text; az turns unquoted environment variables into text."""
    for section in ("tags", "properties", "environment_variables"):
        values = definition.source.get(section)
        if values is None:
            continue
        if not isinstance(values, Mapping):
            yield _violation(definition, "text", section, repr(values), "a mapping of names to text", "Correct it.")
            continue
        for name, value in values.items():
            if not isinstance(value, str):
                fix = f'Quote it: {name}: "{str(value).lower() if isinstance(value, bool) else value}".'
                yield _violation(definition, "text", f"{section}.{name}", repr(value), "text in quotes", fix)
    for name in definition.converted:
        value = definition.source.get("environment_variables")[name]
        yield _violation(
            definition,
            "text",
            f"environment_variables.{name}",
            f"unquoted; it is sent as the text {value!r}, as az sends it",
            "text in quotes",
            f'Quote it: {name}: "{value}".',
            Severity.NOTE,
        )


def check_instances(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Instances: 1 to 50; scaling of a managed deployment is Azure Monitor autoscale, not a field of it."""
    if definition.instance_count > MAX_INSTANCES:
        seen, expected = str(definition.instance_count), f"at most {MAX_INSTANCES} instances"
        yield _violation(
            definition, "instances", "instance_count", seen, expected, "Use fewer, or raise the quota."
        )
    kind = definition.source.get("scale_settings.type") or "default"
    if kind != "default":
        yield _violation(
            definition,
            "scale-settings",
            "scale_settings.type",
            repr(kind),
            "default (target_utilization is for Kubernetes deployments)",
            "Remove scale_settings; scale a managed deployment by an Azure Monitor autoscale setting.",
        )


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
        yield from _check_numbers(definition, probe, limits)


def check_files(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Files: code folder, scoring script, conda file, build context and local model are there."""
    source = definition.source
    code, script = source.get("code_configuration.code"), source.get("code_configuration.scoring_script")
    if definition.serving is Serving.SCRIPT and not script:
        expected = "the script's path in the code folder"
        yield _violation(definition, "file", "code_configuration.scoring_script", "missing", expected, "Name it.")
    if is_local(code):
        folder = source.local_path(code)
        if not folder.is_dir():
            yield _missing(definition, "code_configuration.code", code, "a folder")
        elif script and not (folder / str(script)).is_file():
            yield _missing(definition, "code_configuration.scoring_script", str(script), f"a file in {code}")
    for field in ("model", "model.path", "environment.conda_file", "environment.build.path"):
        value = source.get(field)
        if is_local(value) and not source.local_path(value).exists():
            yield _missing(definition, field, value, "a file or folder")


def check_pinned(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Versions: a label or a mutable image tag names another version tomorrow."""
    for field, value in (("model", definition.model), ("environment", definition.environment)):
        if value.startswith("azureml:") and "@" in value:
            expected = "a version, such as azureml:name:3"
            fix = "Pin the version that you tested."
            yield _violation(definition, "pinned", field, value, expected, fix, Severity.WARNING)
    image = definition.source.get("environment.image")
    if isinstance(image, str) and (image.endswith(":latest") or ":" not in image.rpartition("/")[2]):
        expected = "an image by version or digest"
        fix = "Pin the tag or the digest: the service may pull another image for the next instance."
        yield _violation(definition, "pinned", "environment.image", image, expected, fix, Severity.WARNING)


def check_egress(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Egress: enabled or disabled."""
    value = definition.source.get("egress_public_network_access")
    if value is not None and str(value).lower() not in {"enabled", "disabled"}:
        yield _violation(
            definition, "egress", "egress_public_network_access", repr(value), "enabled or disabled", "Correct it."
        )


RULES: tuple[Callable[[DeploymentDefinition], Iterator[Violation]], ...] = (
    check_name,
    check_fields,
    check_texts,
    check_instances,
    check_request_settings,
    check_probes,
    check_files,
    check_pinned,
    check_egress,
)


def is_local(value: Any) -> bool:
    """Return whether a value is a local path: not a reference to an asset, and no address."""
    return isinstance(value, str) and bool(value) and not value.startswith("azureml:") and "://" not in value


def _check_numbers(
    definition: DeploymentDefinition, section: str, limits: Mapping[str, tuple[int, int | None]]
) -> Iterator[Violation]:
    values = definition.source.get(section)
    if values is None:
        return
    if not isinstance(values, Mapping):
        yield _violation(
            definition, "number", section, repr(values), f"a mapping with {', '.join(limits)}", "Correct it."
        )
        return
    for name, value in values.items():
        field = f"{section}.{name}"
        if name not in limits:
            near = get_close_matches(str(name), limits, 1)
            fix = f"Did you mean {near[0]}?" if near else "Remove it."
            yield _violation(definition, "unknown-field", field, "not known", f"one of {', '.join(limits)}", fix)
            continue
        least, most = limits[str(name)]
        number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
        good = isinstance(number, int) and not isinstance(number, bool) and number >= least
        if not good or (most is not None and number > most):
            expected = (
                f"a whole number of at least {least}" if most is None else f"a whole number, {least} to {most:,}"
            )
            yield _violation(definition, "number", field, repr(value), expected, "Change it.")


def _missing(definition: DeploymentDefinition, field: str, value: str, what: str) -> Violation:
    where = definition.source.local_path(value)
    seen = f"{value!r}, which is not there ({where})"
    return _violation(definition, "file", field, seen, what, "Correct the path: it is relative to the definition.")


def _violation(  # noqa: PLR0913 - a violation has six parts
    definition: DeploymentDefinition,
    rule: str,
    field: str,
    seen: str,
    expected: str,
    fix: str,
    severity: Severity = Severity.ERROR,
) -> Violation:
    return Violation(rule, field, definition.source.line(field), seen, expected, fix, severity)
