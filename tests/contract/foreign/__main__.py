"""Other people's notebooks, samples and tests, unmodified, against a sandbox: `python -m tests.contract.foreign`.

Nothing of theirs is in this repository. Give folders with checkouts; the SDK's source distribution is fetched with
pip when none is given (it leaves the tests' YAML files out, so only some of its tests can then run). The management
packages are fetched with pip, @azure/arm-machinelearning with npm.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from opslib.sandbox.cli.admin_client import call as ask
from tests.sandbox_fixture import running_sandbox

from .mgmt_tests import PACKAGES as MANAGEMENT
from .mgmt_tests import run_packages
from .notebooks import NOTEBOOKS, ONLINE, run_notebook
from .npm_samples import run_samples
from .programs import register_assets, run_flows
from .run import Result, Setting
from .scripts import ML_SCRIPTS, SCRIPTS, has_ml, log_in, run_script, wrap
from .sdk_tests import TESTS, download, run_tests

# what the notebooks install with %pip, and the SDK's tests with their development requirements
PACKAGES = (
    *MANAGEMENT,
    "azure-mgmt-msi==7.1.0",
    "pytest-mock>=3.14",
)


def main() -> int:
    """Run what there is; exit 0 when nothing is the sandbox's fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.contract.foreign", description=__doc__)
    parser.add_argument("--examples", type=Path, help="a checkout of Azure/azureml-examples")
    parser.add_argument("--sdk", type=Path, help="sdk/ml/azure-ai-ml of a checkout of Azure/azure-sdk-for-python")
    parser.add_argument("--az", default=shutil.which("az"), help="the Azure CLI (default: the one on the path)")
    parser.add_argument("--only", default="", help="run only files whose name contains this")
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="opslib-foreign-"))
    print(f"logs and executed notebooks: {scratch}")
    results = []
    with running_sandbox(scratch / "home") as sandbox:
        principal = {"name": "foreign", "role": "Owner", "scope": sandbox.workspace_id.split("/resourceGroups/")[0]}
        row = ask(sandbox.home, "POST", "principals", principal)[0]
        setting = Setting(sandbox, scratch, _install(scratch / "packages"), _az(arguments.az, scratch), row)
        register_assets(setting)
        if setting.az is not None:
            log_in(setting)
        for result in _run(arguments, setting):
            results.append(result)
            _print(result)
    return int(any(result.wrong for result in results))


def _run(arguments: argparse.Namespace, setting: Setting) -> Iterator[Result]:
    examples, sdk = arguments.examples, arguments.sdk
    if examples is not None:
        examples = examples.resolve()
        for name, way in NOTEBOOKS:
            if arguments.only in name and (examples / ONLINE / name).exists():
                yield run_notebook(name, way, examples, setting)
        for name in _scripts(setting):
            if arguments.only in name and (examples / name).exists():
                yield run_script(name, examples, setting)
    yield from run_samples(arguments.only, setting)
    yield from run_flows(arguments.only, setting)
    yield from run_packages(arguments.only, setting)
    wanted = [folder for folder in TESTS if arguments.only in folder]
    if wanted:
        sdk = sdk.resolve() if sdk is not None else download(setting.scratch)
    for folder in wanted:
        yield run_tests(folder, sdk, setting)


def _scripts(setting: Setting) -> tuple[str, ...]:
    """Return the scripts for which there is a program."""
    if setting.az is None:
        print("no Azure CLI: what needs it is left out")
        return ()
    if not has_ml(str(setting.az / "az"), setting.scratch):
        print(f"the Azure CLI has no `ml` extension: left out: {', '.join(ML_SCRIPTS)}")
        return SCRIPTS
    return (*SCRIPTS, *ML_SCRIPTS)


def _install(folder: Path) -> Path:
    """Install the foreign files' own packages beside this environment, not into it."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *PACKAGES]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": ""})
    return folder


def _az(program: str | None, scratch: Path) -> Path | None:
    if program is None:
        return None
    az = str(Path(program).absolute())
    return wrap(az, scratch / "bin", extension=has_ml(az, scratch))


def _print(result: Result) -> None:
    print(f"{result.file} ({result.way} names): {result.passed} of {result.parts}", flush=True)
    for word, problems in (("not there", result.missing), ("theirs", result.theirs), ("WRONG", result.wrong)):
        for problem in problems:
            print(f"    {word}: {problem}")


if __name__ == "__main__":
    sys.exit(main())
