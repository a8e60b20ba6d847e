"""Traffic maps as text, and their comparison."""

from collections.abc import Mapping

from opslib.model.endpoint import Traffic


def describe_traffic(traffic: object) -> str:
    """Format a traffic map for people; anything else, as where none was recorded, as "unknown".

    Examples
    --------
    >>> describe_traffic({"blue": 90, "green": 10, "red": 0})
    'blue=90 green=10'
    >>> describe_traffic({})
    'none'
    """
    return (write_traffic(traffic) or "none") if isinstance(traffic, Mapping) else "unknown"


def write_traffic(traffic: Traffic) -> str:
    """Write a traffic map as `read_traffic` reads it; zero weights are left out."""
    return " ".join(f"{name}={weight}" for name, weight in traffic.items() if weight)


def read_traffic(text: str) -> dict[str, int]:
    """Read a traffic map from text.

    Raises
    ------
    ValueError
        If the text is not a traffic map.
    """
    pairs = (pair.split("=") for pair in text.split())
    return {name: int(weight) for name, weight in pairs}


def normalize_traffic(traffic: Mapping[str, int] | None) -> dict[str, int]:
    """Return the map without zero weights, names in lower case.

    Azure's names ignore case; azure-ai-ml removes zero weights and writes names in lower case.
    """
    return {name.lower(): weight for name, weight in (traffic or {}).items() if weight}


def same_traffic(one: Traffic, other: Traffic) -> bool:
    """Return whether two maps route alike.

    Examples
    --------
    >>> same_traffic({"Blue": 100, "green": 0}, {"blue": 100})
    True
    """
    return normalize_traffic(one) == normalize_traffic(other)
