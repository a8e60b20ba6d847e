"""Runs the SDK's own tests, live, against a sandbox that stands for Azure's own names."""

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from .run import Result, Setting, call, result

TESTS = tuple(f"tests/{name}/e2etests" for name in ("online_services", "environment", "model"))
STANDIN = Path(__file__).parent / "standin"
_WITHIN_S = 900


def download(into: Path) -> Path:
    """Fetch the source distribution of the installed azure-ai-ml with pip, and unpack it."""
    return fetch(f"azure-ai-ml=={version('azure-ai-ml')}", into)


def fetch(requirement: str, into: Path) -> Path:
    """Fetch a source distribution with pip, unpack it, and return its folder."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
    folder = into / requirement.partition("==")[0]
    folder.mkdir()
    options = ["--no-binary", ":all:", requirement]
    subprocess.run([*command, *options], cwd=folder, check=True, capture_output=True, env=_plain())
    shutil.unpack_archive(
        next(folder.iterdir()), folder, **{} if next(folder.glob("*.zip"), None) else {"filter": "data"}
    )
    return next(path for path in folder.iterdir() if path.is_dir())


def run_tests(folder: str, sdk: Path, setting: Setting, label: str = "", options: Sequence[str] = ()) -> Result:
    """Run one folder of tests from the root of the SDK's package."""
    label = label or folder
    report = setting.scratch / f"{label.replace('/', '-')}.xml"
    names, principal = setting.sandbox.workspace, setting.principal
    environment = setting.environment(
        "azure",
        PYTHONPATH=os.pathsep.join((str(STANDIN), str(sdk / "tests"), str(setting.packages))),
        AZURE_SUBSCRIPTION_ID=names["subscription_id"],
        ML_SUBSCRIPTION_ID=names["subscription_id"],
        ML_RESOURCE_GROUP=names["resource_group"],
        ML_WORKSPACE_NAME=names["workspace_name"],
        ML_TENANT_ID=principal["tenant_id"],
        ML_CLIENT_ID=principal["client_id"],
        ML_CLIENT_SECRET=principal["client_secret"],
        AZURE_TEST_RUN_LIVE="true",
    )
    fixed = ["-q", "-c", os.devnull, "--rootdir", str(sdk), "-p", "no:cacheprovider", "-p", "no:xdist"]
    plugin = ["-p", "devtools_testutils.proxy_fixtures", "-W", "ignore", "--junitxml", str(report), folder]
    command = [sys.executable, "-m", "pytest", *fixed, *options, *plugin]
    _, printed = call(command, environment, sdk, _WITHIN_S)
    (report.with_suffix(".log")).write_text(printed, encoding="utf-8")
    cases = ET.parse(report).getroot().findall(".//testcase") if report.exists() else []  # noqa: S314 - pytest's own
    ran = [case for case in cases if case.find("skipped") is None]
    broken = [node for case in ran if (node := _broken(case)) is not None]
    problems = [_words(node) for node in broken] or ([] if ran else [printed[-200:]])
    return result(label, "azure", len(ran), problems)


def _plain() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": ""}


def _broken(case: ET.Element) -> ET.Element | None:
    failure = case.find("failure")
    return failure if failure is not None else case.find("error")


def _words(node: ET.Element) -> str:
    """Return what broke a test: its message, or the line that names what is absent."""
    return " ".join((node.get("message") or "").split())[:300]
