"""A managed online endpoint as its ``endpoint.yml`` defines it, and the service's rules for it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from opslib.definitions.rules import NAME_LENGTHS, NAME_PATTERN
from opslib.definitions.shape_rules import empty_fields
from opslib.definitions.source import Source
from opslib.definitions.violation import Severity, Violation, fix_name, quoted

ENDPOINT = "endpoint.yml"

AUTH_MODES = ("key", "aml_token", "aad_token")
IDENTITIES = ("system_assigned", "user_assigned", "none")
NETWORK_ACCESS = ("enabled", "disabled")

FIELDS = frozenset(
    {
        *("$schema", "name", "description", "tags", "properties", "auth_mode", "identity", "location"),
        *("traffic", "mirror_traffic", "public_network_access"),
    }
)
"""Source: azure-ai-ml 1.35, ManagedOnlineEndpointSchema; what only the service sets is left out."""

OF_THE_SERVICE = frozenset({"id", "kind", "scoring_uri", "openapi_uri", "provisioning_state", "creation_context"})
"""Fields that `az ml online-endpoint show` prints, and that a creation ignores."""


def check_endpoint(source: Source) -> Iterator[Violation]:
    """Check an endpoint's definition against the rules that can be checked without Azure."""
    name = source.get("name")
    if not name:
        yield _violation(
            source, "name", "name", "missing", "the endpoint's name", "Add a line such as `name: fraud`."
        )
    elif not isinstance(name, str) or len(name) not in NAME_LENGTHS or not NAME_PATTERN.fullmatch(name):
        expected = "3 to 32 letters, digits and single dashes, a letter first, no dash at the end"
        yield _violation(source, "name", "name", repr(name), expected, "Rename it.")
    for field in source.content:
        if field in OF_THE_SERVICE:
            seen, expected = "set by the service", "a definition without it"
            line = source.line(field)
            yield Violation("unknown-field", field, line, seen, expected, "Remove it.", Severity.WARNING)
        elif field == "compute":
            expected = "a managed online endpoint, without compute: this is one on Kubernetes"
            yield _violation(source, "unknown-field", field, "there", expected, "Remove it.")
        elif field not in FIELDS:
            expected = "a field of the managed online endpoint schema"
            yield _violation(source, "unknown-field", str(field), "not known", expected, fix_name(field, FIELDS))
    for field in empty_fields(source.content):
        if field != "name":
            yield _violation(
                source, "empty", field, "without a value", "a value", "Give it a value, or remove the line."
            )
    yield from _check_words(source)
    yield from _check_identities(source)
    yield from _check_texts(source)
    yield from _check_weights(source)


def _check_words(source: Source) -> Iterator[Violation]:
    words = (
        ("auth-mode", "auth_mode", AUTH_MODES),
        ("identity", "identity.type", IDENTITIES),
        ("network", "public_network_access", NETWORK_ACCESS),
    )
    for rule, field, allowed in words:
        value = source.get(field)
        if value is not None and _snake(str(value)) not in allowed:
            yield _violation(source, rule, field, repr(value), f"one of {', '.join(allowed)}", "Correct it.")


def _snake(word: str) -> str:
    """Return a word as azure-ai-ml compares it.

    >>> _snake("SystemAssigned"), _snake("Disabled"), _snake("AADToken")
    ('system_assigned', 'disabled', 'aad_token')
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", word).lower()


def _check_identities(source: Source) -> Iterator[Violation]:
    """Identity: a mapping with its type; user-assigned ones are a list of mappings with a resource id."""
    identity = source.get("identity")
    if identity is not None and not isinstance(identity, Mapping):
        fix = "Write identity: {type: system_assigned}."
        yield _violation(source, "identity", "identity", repr(identity), "a mapping with type", fix)
    field = "identity.user_assigned_identities"
    given = source.get(field)
    good = isinstance(given, list) and all(isinstance(one, Mapping) and one.get("resource_id") for one in given)
    if given is not None and not good:
        fix = "Write each as - resource_id: /subscriptions/..."
        yield _violation(source, "identity", field, repr(given), "a list of {resource_id: ID}", fix)


def _check_texts(source: Source) -> Iterator[Violation]:
    if (description := source.get("description")) is not None and not isinstance(description, str):
        fix = f"Quote it: description: {quoted(description)}."
        yield _violation(source, "text", "description", repr(description), "text", fix)
    for section in ("tags", "properties"):
        values = source.get(section)
        if values is not None and not isinstance(values, Mapping):
            yield _violation(source, "text", section, repr(values), "a mapping of names to text", "Correct it.")
            continue
        for name, value in (values or {}).items():
            if not isinstance(value, str):
                field, fix = f"{section}.{name}", f"Quote it: {name}: {quoted(value)}."
                yield _violation(source, "text", field, repr(value), "text in quotes", fix)


def _check_weights(source: Source) -> Iterator[Violation]:
    """Weights: the sum is 0 or 100; a mirror is one deployment with at most 50 percent."""
    for field, allowed in (("traffic", (0, 100)), ("mirror_traffic", range(51))):
        weights = source.get(field)
        if weights is None:
            continue
        whole = isinstance(weights, Mapping) and all(_is_weight(one) for one in weights.values())
        if not whole or sum(int(one) for one in weights.values()) not in allowed:
            expected = f"whole percentages, sum {'0 or 100' if field == 'traffic' else 'at most 50'}"
            yield _violation(source, "traffic", field, repr(weights), expected, "Correct it.")
        elif field == "mirror_traffic" and sum(int(one) > 0 for one in weights.values()) > 1:
            yield _violation(source, "traffic", field, repr(weights), "one deployment", "Remove the others.")


def _is_weight(value: Any) -> bool:
    """Return whether a value is a whole number, as text too: azure-ai-ml reads both."""
    return (type(value) is int and value >= 0) or (isinstance(value, str) and value.isascii() and value.isdigit())


def _violation(source: Source, rule: str, field: str, seen: str, expected: str, fix: str) -> Violation:
    return Violation(rule, field, source.line(field), seen, expected, fix)
