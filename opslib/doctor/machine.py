"""What a run needs of this machine: Python, packages, memory, disk, a signing key, a kernel."""

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import opslib
from opslib.doctor.check import Check, State
from opslib.errors import OpsError
from opslib.evidence.run.run_lock import RESERVE_BYTES
from opslib.evidence.signing.key_files import SIGNING_KEY, config_folder
from opslib.evidence.signing.keys import FILE_VARIABLE, TEXT_VARIABLE, find_signing_key

MIN_PYTHON = (3, 11)
MIN_DISK_MIB = 1024
MIN_MEMORY_MIB = 1024
KERNEL_TIMEOUT_S = 60

_PIN = re.compile(r"^(?P<name>[\w.-]+)(?:\[[^\]]*\])?\s*==\s*(?P<pin>[^\s;#\\]+)", re.MULTILINE)
"""A line of constraints: what follows the version is a marker, a comment or a digest."""


def check_machine(archive: Path, constraints: Path | None) -> Iterator[Check]:
    """Yield the checks of this machine; nothing is sent anywhere."""
    yield check_python()
    yield from check_packages(constraints)
    yield check_memory()
    yield check_disk(archive)
    yield check_signing_key()
    yield check_kernel()


def check_python(found: tuple[int, ...] = sys.version_info[:3], system: str = sys.platform) -> Check:
    """Check the version of Python and the system."""
    seen = f"{'.'.join(map(str, found))} on {platform.system()} {platform.machine()}, {sys.executable}"
    if found < MIN_PYTHON:
        return Check("python", State.PROBLEM, seen, "Install opslib with Python 3.11 or newer.")
    if system != "linux":
        return Check("python", State.WARNING, seen, "opslib is tested on Linux; use Linux, WSL or a container.")
    return Check("python", State.OK, seen)


def check_packages(constraints: Path | None) -> Iterator[Check]:
    """Yield whether what opslib requires is installed, and whether in the versions that the tests passed with."""
    missing = [problem for one in _required() if (problem := _unmet(one))]
    if missing:
        fix = "Install it again: pip install -c constraints.txt opslib, in this environment."
        yield Check("packages", State.PROBLEM, "; ".join(missing), fix)
    else:
        yield Check("packages", State.OK, f"opslib {version('opslib')}, everything that it requires is installed")
    path = constraints or Path(opslib.__file__).parents[1] / "constraints.txt"
    if not path.is_file():
        seen = "not compared: constraints.txt is not here"
        yield Check("versions", State.OK, f"{seen}; --constraints names it")
        return
    other = other_versions(path.read_text(encoding="utf-8"))
    if other:
        named = ", ".join(f"{name} {found} (tested: {pin})" for name, (found, pin) in list(other.items())[:5])
        more = f" and {len(other) - 5} more" if len(other) > 5 else ""
        fix = f"pip install -c {path} opslib"
        yield Check("versions", State.WARNING, f"{len(other)} differ from the tested ones: {named}{more}", fix)
    else:
        yield Check("versions", State.OK, f"as in {path}")


def other_versions(constraints: str) -> Mapping[str, tuple[str, str]]:
    """Return packages that opslib requires itself and that have another version than the constraints pin."""
    pinned = {canonicalize_name(found["name"]): found["pin"] for found in _PIN.finditer(constraints)}
    names = sorted(canonicalize_name(one.name) for one in _required())
    found = {name: _installed(name) for name in names if name in pinned}
    return {name: (seen, pinned[name]) for name, seen in found.items() if seen and seen != pinned[name]}


def check_memory(meminfo: Path = Path("/proc/meminfo")) -> Check:
    """Check the memory that is available."""
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) // 1024
    except (OSError, KeyError, ValueError):
        return Check("memory", State.OK, f"not known; {os.cpu_count()} processors")
    seen = f"{free:,} MiB available, {os.cpu_count()} processors"
    if free < MIN_MEMORY_MIB:
        fix = f"A kernel and azure-ai-ml need {MIN_MEMORY_MIB:,} MiB: end other programs, or use a larger machine."
        return Check("memory", State.WARNING, seen, fix)
    return Check("memory", State.OK, seen)


def check_disk(archive: Path) -> Check:
    """Check that the archive's folder can be written, and its space."""
    folder = next(one for one in (archive, *archive.absolute().parents) if one.is_dir())
    free = shutil.disk_usage(folder).free // 2**20
    seen = f"{free:,} MiB free for {archive}"
    if not os.access(folder, os.W_OK):
        return Check(
            "disk", State.PROBLEM, f"{folder} cannot be written", "Pass --runs FOLDER, or set its permissions."
        )
    if free < MIN_DISK_MIB:
        state = State.PROBLEM if free < RESERVE_BYTES >> 20 else State.WARNING
        return Check("disk", state, seen, "Free some space: a run that cannot be recorded does not begin.")
    return Check("disk", State.OK, seen)


def check_signing_key() -> Check:
    """Check the key that seals runs; none is created, and no vault is reached."""
    own, text = config_folder() / SIGNING_KEY, os.environ.get(TEXT_VARIABLE, "")
    file = os.environ.get(FILE_VARIABLE)
    if text and not file and not text.startswith("-----BEGIN"):
        return Check("signing key", State.OK, f"{text}, fetched when a run is sealed")
    if not file and not text and not own.exists():
        return Check("signing key", State.OK, f"none yet: the first run creates {own}")
    try:
        key = find_signing_key()
    except OpsError as error:
        fix = f"openssl genpkey -algorithm ed25519 -out KEY.pem, and set {FILE_VARIABLE}=KEY.pem"
        return Check("signing key", State.PROBLEM, str(error), fix)
    path = Path(file) if file else own
    if path.exists() and path.stat().st_mode & 0o077:
        return Check("signing key", State.WARNING, f"{path} is readable by others", f"chmod 600 {path}")
    return Check("signing key", State.OK, f"{key.id[:16]} ({key.origin})")


def check_kernel() -> Check:
    """Check that a kernel of this environment starts and imports opslib."""
    from jupyter_client.manager import KernelManager  # noqa: PLC0415 - takes a while

    fix = f"{sys.executable} -m pip install ipykernel && {sys.executable} -m ipykernel install --sys-prefix"
    with TemporaryDirectory(prefix="opslib-") as sockets:
        manager = KernelManager(kernel_name="python3", transport="ipc", ip=f"{sockets}/kernel")
        try:
            manager.start_kernel()
            client = manager.client()
            client.start_channels()
            client.wait_for_ready(timeout=KERNEL_TIMEOUT_S)
            answer = client.execute_interactive(
                "import opslib", timeout=KERNEL_TIMEOUT_S, output_hook=lambda _: None, store_history=False
            )["content"]
            client.stop_channels()
            name = manager.kernel_spec.display_name
        except Exception as error:  # noqa: BLE001 - whatever prevents a kernel is the finding
            return Check("kernel", State.PROBLEM, f"python3 does not start: {error}", fix)
        finally:
            if manager.has_kernel:
                manager.shutdown_kernel(now=True)
    if answer["status"] != "ok":
        seen = f"python3 cannot import opslib: {answer['ename']}: {answer['evalue']}"
        return Check("kernel", State.PROBLEM, seen, fix)
    return Check("kernel", State.OK, f"{name} starts and imports opslib")


def _required() -> list[Requirement]:
    """Return what opslib requires without its extras, on this machine."""
    found = [Requirement(line) for line in requires("opslib") or ()]
    return [one for one in found if one.marker is None or one.marker.evaluate({"extra": ""})]


def _unmet(requirement: Requirement) -> str:
    """Return what is wrong with a requirement; nothing if it is met."""
    found = _installed(requirement.name)
    if not found:
        return f"{requirement.name} is not installed"
    met = requirement.specifier.contains(found, prereleases=True)
    return "" if met else f"{requirement.name} {found} is not {requirement.specifier}"


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
