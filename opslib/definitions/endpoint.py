"""A managed online endpoint as its ``endpoint.yml`` defines it, and the service's rules for it."""

from collections.abc import Iterator, Mapping

from opslib.definitions.rules import NAME_LENGTHS, NAME_PATTERN
from opslib.definitions.source import Source
from opslib.definitions.violation import Violation, fix_name, quoted

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
        if field not in FIELDS:
            expected = "a field of the managed online endpoint schema"
            yield _violation(source, "unknown-field", str(field), "not known", expected, fix_name(field, FIELDS))
    yield from _check_words(source)
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
        if value is not None and str(value).lower() not in allowed:
            yield _violation(source, rule, field, repr(value), f"one of {', '.join(allowed)}", "Correct it.")


def _check_texts(source: Source) -> Iterator[Violation]:
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
        whole = isinstance(weights, Mapping) and all(type(one) is int and one >= 0 for one in weights.values())
        if not whole or sum(weights.values()) not in allowed:
            expected = f"whole percentages, sum {'0 or 100' if field == 'traffic' else 'at most 50'}"
            yield _violation(source, "traffic", field, repr(weights), expected, "Correct it.")


def _violation(source: Source, rule: str, field: str, seen: str, expected: str, fix: str) -> Violation:
    return Violation(rule, field, source.line(field), seen, expected, fix)
