"""Statements of opslib that tests execute, by package: ``python -m tests.covered [arguments of pytest]``.

Without arguments the whole suite runs. Kernels, guardians, sandboxes and workers are processes of their own, and
counted; one that is killed loses its count.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Run the tests, print the shares, and return what pytest returned."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"COVERAGE_FILE": f"{folder}/data"}

        def coverage(*words: str) -> int:
            command = [sys.executable, "-m", "coverage", *words]
            return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode

        code = coverage("run", "-m", "pytest", *(sys.argv[1:] or ["-n", "4"]))
        coverage("combine", "--quiet")
        coverage("json", "--quiet", "-o", f"{folder}/report.json")
        report = json.loads(Path(folder, "report.json").read_text())
    print("\n".join(table(report["files"])))
    return code


def table(files: Mapping[str, Any]) -> Iterator[str]:
    """Return a line for each package and one for all: statements executed, of how many, and the share."""
    executed, known = Counter[str](), Counter[str]()
    for name, file in files.items():
        parts = Path(name).parts
        for package in ("/".join(parts[:2]) if len(parts) > 2 else "opslib/*.py", "all"):
            executed[package] += file["summary"]["covered_lines"]
            known[package] += file["summary"]["num_statements"]
    for package in sorted(known, key=lambda package: (package == "all", package)):
        share = executed[package] / max(known[package], 1)
        yield f"{package:<20} {executed[package]:>6,} of {known[package]:>6,}  {share:6.1%}"


if __name__ == "__main__":
    sys.exit(main())
