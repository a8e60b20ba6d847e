"""The tests that the management packages of PyPI ship in their source distributions, live against a sandbox."""

from collections.abc import Iterator

from .run import Result, Setting
from .sdk_tests import fetch, run_tests

PACKAGES = (
    "azure-mgmt-authorization==4.0.0",
    "azure-mgmt-machinelearningservices==1.0.1",
    "azure-mgmt-monitor==7.0.0",
    "azure-mgmt-resource==26.0.0",
    "azure-mgmt-storage==25.3.0",
)
# the tests of asynchronous clients send the same requests; a test that the package itself disabled is not run
_OPTIONS = ("--ignore-glob=*async*", "--ignore-glob=*disable_*")


def run_packages(only: str, setting: Setting) -> Iterator[Result]:
    """Run the tests of each package; one that ships none has no part."""
    for package in PACKAGES:
        name = package.partition("==")[0]
        if only not in name:
            continue
        folder = fetch(package, setting.scratch)
        if (folder / "tests").is_dir():
            yield run_tests("tests", folder, setting, name, _OPTIONS)
        else:
            yield Result(name, "azure", 0, 0, missing=("the package ships no tests and no samples",))
