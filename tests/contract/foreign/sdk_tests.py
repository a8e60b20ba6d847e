"""Runs the SDK's own tests, live, against a sandbox that stands for Azure's own names."""

import os
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from importlib.metadata import version
from pathlib import Path

from .run import Result, Setting, call, result

TESTS = tuple(f"tests/{name}/e2etests" for name in ("online_services", "environment", "model"))
STANDIN = Path(__file__).parent / "standin"
_WITHIN_S = 900


def download(into: Path) -> Path:
    """Fetch the source distribution of the installed azure-ai-ml with pip, and unpack it."""
    release = version("azure-ai-ml")
    wanted = f"azure-ai-ml=={release}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", wanted]
    subprocess.run(command, cwd=into, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": ""})
    with tarfile.open(next(into.glob("azure_ai_ml-*.tar.gz"))) as archive:
        archive.extractall(into, filter="data")
    return into / f"azure_ai_ml-{release}"


def run_tests(folder: str, sdk: Path, setting: Setting) -> Result:
    """Run one folder of tests from the root of the SDK's package."""
    report = setting.scratch / f"{Path(folder).parent.name}-{Path(folder).name}.xml"
    names, principal = setting.sandbox.workspace, setting.principal
    environment = setting.environment(
        "azure",
        PYTHONPATH=os.pathsep.join((str(STANDIN), str(sdk / "tests"), str(setting.packages))),
        ML_SUBSCRIPTION_ID=names["subscription_id"],
        ML_RESOURCE_GROUP=names["resource_group"],
        ML_WORKSPACE_NAME=names["workspace_name"],
        ML_TENANT_ID=principal["tenant_id"],
        ML_CLIENT_ID=principal["client_id"],
        ML_CLIENT_SECRET=principal["client_secret"],
        AZURE_TEST_RUN_LIVE="true",
    )
    options = ["-q", "-c", os.devnull, "--rootdir", str(sdk), "-p", "no:cacheprovider", "-p", "no:xdist"]
    plugin = ["-p", "devtools_testutils.proxy_fixtures", "-W", "ignore", "--junitxml", str(report), folder]
    _, said = call([sys.executable, "-m", "pytest", *options, *plugin], environment, sdk, _WITHIN_S)
    (report.with_suffix(".log")).write_text(said, encoding="utf-8")
    cases = ET.parse(report).getroot().findall(".//testcase") if report.exists() else []  # noqa: S314 - pytest's own
    ran = [case for case in cases if case.find("skipped") is None]
    broken = [node for case in ran if (node := _broken(case)) is not None]
    return result(folder, "azure", len(ran), [_words(node) for node in broken] or ([] if ran else [said[-200:]]))


def _broken(case: ET.Element) -> ET.Element | None:
    failure = case.find("failure")
    return failure if failure is not None else case.find("error")


def _words(node: ET.Element) -> str:
    """Return what broke a test: its message, or the line that names what is absent."""
    return " ".join((node.get("message") or "").split())[:300]
