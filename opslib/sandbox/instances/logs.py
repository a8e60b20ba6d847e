"""Logs of instances: container logs, console lines, events."""

import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from opslib.sandbox.arm.store import Store
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import iso_now, now_us
from opslib.sandbox.instances.instance import Instance, InstanceLog
from opslib.sandbox.instances.payload import Payload
from opslib.sandbox.telemetry.diagnostics import logged
from opslib.sandbox.telemetry.telemetry import Telemetry

_KEEP_LOGS = 120  # files of one deployment: more than its instances can be
_SHOWN_EVENTS = 20
_STEPS = ("SystemSetup", "UserContainerImagePull", "ModelDownload")  # before an instance's container starts


class FleetLog:
    """Writes and reads the logs of all deployments."""

    def __init__(self, folder: Path, store: Store, telemetry: Telemetry) -> None:
        self._folder = folder
        self._store = store
        self._telemetry = telemetry
        self._failed_steps: dict[str, str] = {}

    def open(self, payload: Payload, instance_id: str) -> InstanceLog:
        """Make an instance's log; the oldest of its deployment are forgotten."""
        folder = self._of(payload.deployment)
        for old in _by_last_write(folder.glob("instance-*"))[:-_KEEP_LOGS]:
            old.unlink(missing_ok=True)
        return InstanceLog(folder / f"{instance_id}.log")

    def tail(self, deployment_id: str, container: str, lines: int) -> str:
        """Return the last lines of an instance chosen for the caller: the one that wrote last."""
        if container == "StorageInitializer":
            return InstanceLog(self._of(deployment_id) / "storage-initializer.log").tail(lines)
        logs = _by_last_write(self._of(deployment_id).glob("instance-*.log"))
        return InstanceLog(logs[-1]).tail(lines) if logs else ""

    def tails(self, lines: int) -> list[tuple[str, str]]:
        """Return name and last lines of every instance's log; the one that wrote last is last."""
        logs = _by_last_write(self._folder.rglob("instance-*.log"))
        return [(path.stem, InstanceLog(path).tail(lines)) for path in logs]

    def container(self, deployment_id: str, container: str, lines: int, *, ready: bool) -> str:
        """Return a container's log as Azure shows it: the steps of its start, its events, its last lines."""
        text = self.tail(deployment_id, container, lines)
        failed = self._failed_steps.get(ids.key(deployment_id))
        if container == "StorageInitializer" or not (text or failed):
            return text
        before = _STEPS.index(failed) if failed else len(_STEPS)
        states = {step: "Succeeded" if number < before else "Pending" for number, step in enumerate(_STEPS)}
        states |= {failed: "Failed"} if failed else {}
        states["UserContainerStart"] = "Succeeded" if ready else "Pending" if failed else "InProgress"
        status = "\n".join(f"{step}: {state}" for step, state in states.items())
        events = self.events(deployment_id)
        return f"Instance status:\n{status}\n\nContainer events:\n{events}\nContainer logs:\n{text}\n\n"

    def note_failed_step(self, deployment_id: str, step: str, message: str) -> None:
        """Show in a deployment's log that a step before its container's start has failed."""
        self._failed_steps[ids.key(deployment_id)] = step
        self.deployment_event(deployment_id, "Failed", message)

    def clear_failed_step(self, deployment_id: str) -> None:
        """Show no step as failed any more: the deployment is started again."""
        self._failed_steps.pop(ids.key(deployment_id), None)

    def forget(self, deployment_id: str) -> None:
        """Remove a deployment's logs."""
        shutil.rmtree(self._of(deployment_id), ignore_errors=True)

    def note(self, payload: Payload) -> None:
        """Write the notes of the storage initializer."""
        log = InstanceLog(self._of(payload.deployment) / "storage-initializer.log")
        for line in payload.notes:
            log.append(line)
        log.close()

    def console(self, instance: Instance, lines: Iterable[str]) -> None:
        """Keep lines that an instance printed, if its endpoint keeps them."""
        deployment = instance.payload.deployment
        if logged(self._store, ids.parent(deployment), "AmlOnlineEndpointConsoleLog"):
            where = (now_us(), *_where(instance), "inference-server")
            for line in lines:
                self._telemetry.add("console", (*where, line))

    def events(self, deployment_id: str) -> str:
        """Return the last events of a deployment's containers, as its log shows them."""
        return InstanceLog(self._of(deployment_id) / "events.log").tail(_SHOWN_EVENTS)

    def event(self, instance: Instance, name: str, message: str) -> None:
        """Keep an event of an instance: for the deployment's log, and for its endpoint's logs if it keeps them."""
        deployment = instance.payload.deployment
        self.deployment_event(deployment, name, message)
        if logged(self._store, ids.parent(deployment), "AmlOnlineEndpointEventLog"):
            self._telemetry.add("events", (now_us(), *_where(instance), name, message))

    def deployment_event(self, deployment_id: str, name: str, message: str) -> None:
        """Keep an event for the deployment's log alone, as before it has an instance."""
        kind = "Warning" if name == "BackOff" or name.endswith("Failed") else "Normal"
        log = InstanceLog(self._of(deployment_id) / "events.log")
        log.append(f"Kind: Pod, Name: {name}, Type: {kind}, Time: {iso_now()}, Message: {message}")
        log.close()

    def _of(self, deployment_id: str) -> Path:
        return self._folder / uuid.uuid5(uuid.NAMESPACE_URL, ids.key(deployment_id)).hex


def _by_last_write(logs: Iterable[Path]) -> list[Path]:
    return sorted(logs, key=lambda path: path.stat().st_mtime)


def _where(instance: Instance) -> tuple[str, str, str]:
    deployment = instance.payload.deployment
    return ids.key(ids.parent(deployment)), ids.name(deployment).lower(), instance.id
