"""Every check of CI, one after the other: ``python -m tests.check``."""

import subprocess
import sys
from pathlib import Path
from time import monotonic

ROOT = Path(__file__).parents[1]

CHECKS = {
    "lint": ["ruff", "check"],
    "format": ["ruff", "format", "--check"],
    "types": ["mypy"],
    "tests": ["pytest", "-n", "4"],
}
"""What each check is called, and the module with its arguments."""


def main() -> int:
    """Run every check, also after one failed; print a summary and return 1 if any failed."""
    results = [_run(name, command) for name, command in CHECKS.items()]
    print("\n" + "\n".join(line for _, line in results))
    return 0 if all(passed for passed, _ in results) else 1


def _run(name: str, command: list[str]) -> tuple[bool, str]:
    """Run one check; return whether it passed, and its line of the summary."""
    print(f"\n$ python -m {' '.join(command)}", flush=True)
    started_s = monotonic()
    passed = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False).returncode == 0
    return passed, f"{name:<8}{'passed' if passed else 'FAILED'}  {monotonic() - started_s:5.0f} s"


if __name__ == "__main__":
    sys.exit(main())
