import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PINS = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]


def test_constraints_are_exact_versions():
    """One `name==version` per line, in order: no address, no path, no opslib."""
    assert [line for line in PINS if not re.fullmatch(r"[A-Za-z0-9][\w.-]*==[\w.+!-]+", line)] == []
    names = [line.split("==")[0].lower() for line in PINS]
    assert names == sorted(set(names))
    assert "opslib" not in names


def test_constraints_pin_everything_that_is_installed():
    """Each distribution that `opslib[test]` requires here, directly or not, has a line."""
    pinned = {canonicalize_name(line.split("==")[0]) for line in PINS}
    assert required("opslib", {"test"}) - pinned == set()


def required(name: str, extras: set[str]) -> set[str]:
    """Canonical names of everything that a distribution with these extras requires on this machine."""
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    waiting = [(name, extra) for extra in ("", *extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for requirement in map(Requirement, _requires(name)):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                child = canonicalize_name(requirement.name)
                found.add(child)
                waiting += [(child, wanted) for wanted in ("", *requirement.extras)]
    return found - {"opslib"}


def _requires(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []
