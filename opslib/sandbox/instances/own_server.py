"""The process of an instance that brings its own server: a command of the image map, or an engine's client."""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from opslib.sandbox.instances.containers import Container, translated
from opslib.sandbox.instances.engine import options
from opslib.sandbox.instances.payload import Payload


@dataclass(frozen=True)
class OwnServer:
    """What the process of one instance is made from.

    Attributes
    ----------
    name
        The instance's id.
    root
        The instance's own folder.
    ports
        Local port of each of the container's ports.
    given
        Environment variables that do not come from its deployment.
    """

    container: Container
    payload: Payload
    name: str
    root: Path
    ports: Mapping[int, int]
    given: Mapping[str, str]

    def command(self) -> list[str]:
        """Return the command that the image map declares, else the engine's client."""
        local, engine = self.container.local, self.container.engine
        if local is None:
            mounts = {folder: f"{self.root}{folder}" for folder in self.payload.folders}
            for outside in mounts.values():
                Path(outside).mkdir(parents=True, exist_ok=True)
            given = options(self.ports, mounts, self.payload.container_variables)
            return engine.run(self.name, str(self.root.parent), self.container.image, given)
        model = self.payload.model_dir
        values = {
            "port": str(self.ports[self.payload.routes.scoring.port]),
            "model_dir": str(self.root / model) if model is not None else "",
            "root": str(self.root),
            "map": str(self.container.folder),
        }
        values |= {f"port_{inside}": str(outside) for inside, outside in self.ports.items()}
        program, *words = local.filled(values)
        return [sys.executable if program == "python" else program, *words]

    def variables(self) -> dict[str, str]:
        """Return the process's own variables; of an engine's client none, its container is given them."""
        local = self.container.local
        if local is None:
            return {}
        own = translated(self.payload.container_variables, self.payload.folders, self.root)
        return {"HOSTNAME": self.name} | dict(self.given) | own | dict(local.environment)


async def remove_container(container: Container | None, name: str) -> None:
    """Remove an engine's container, which outlives its client where that was killed."""
    if container is None or not container.engine.program:
        return
    quiet = asyncio.subprocess.DEVNULL
    removing = await asyncio.create_subprocess_exec(*container.engine.remove(name), stdout=quiet, stderr=quiet)
    await removing.wait()
