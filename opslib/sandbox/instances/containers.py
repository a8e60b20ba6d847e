"""What runs a deployment that brings a server of its own: a container engine, or a command of the image map.

Source: MicrosoftDocs, how-to-deploy-custom-container.md: `inference_config` names port and path of three routes;
how-to-deploy-with-triton.md: a model of type triton_model needs neither code nor environment.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.core import ids
from opslib.sandbox.instances.engine import Engine, find_engine
from opslib.sandbox.instances.local_commands import ImageMap, LocalCommand

TRITON = "triton"
"""The name under which an image map declares what serves models of type triton_model."""


@dataclass(frozen=True)
class Route:
    """A port of a container, and a path."""

    port: int
    path: str


@dataclass(frozen=True)
class Routes:
    """Where a container answers."""

    scoring: Route
    liveness: Route
    readiness: Route

    @property
    def ports(self) -> tuple[int, ...]:
        """Return each port once; the scoring route's is the first."""
        return tuple(dict.fromkeys((self.scoring.port, self.liveness.port, self.readiness.port)))


SERVER_ROUTES = Routes(Route(5001, "/score"), Route(5001, "/"), Route(5001, "/"))
"""Those of azureml-inference-server-http, and the default."""

TRITON_ROUTES = Routes(Route(8000, "/"), Route(8000, "/v2/health/live"), Route(8000, "/v2/health/ready"))


@dataclass(frozen=True)
class Container:
    """A container of a deployment, and what stands for it on this machine.

    Attributes
    ----------
    local
        A command of the image map; None where an engine runs the image.
    folder
        The image map's folder.
    engine
        The engine, where no command is declared.
    """

    image: str
    routes: Routes
    local: LocalCommand | None
    folder: Path
    engine: Engine

    @property
    def described(self) -> str:
        """What runs, for the container's events."""
        if self.local is not None:
            return f"Container image {self.image} is the local command {' '.join(self.local.command)}"
        return f"Successfully pulled image {self.image}"


class Runtime:
    """What can run containers here: the image map, and an engine that is looked for when one is needed."""

    def __init__(self, images: ImageMap) -> None:
        self._images = images
        self._engine = Engine()

    @property
    def engine(self) -> Engine:
        """Return the engine; one that did not answer is looked for again."""
        if not self._engine.program:
            self._engine = find_engine()
        return self._engine

    def container(self, image: str, routes: Routes, *, pullable: bool = True) -> Container:
        """Return what runs an image.

        Raises
        ------
        ArmError
            501 with the reason, if neither a command is declared for it nor an engine answers.
        """
        local = self._images.find(image)
        if local is not None:
            return Container(image, routes, local, self._images.folder, Engine())
        engine = self.engine
        if pullable and engine.program:
            return Container(image, routes, None, Path(), engine)
        problem = f"no container engine answers ({engine.problem})" if pullable else "no engine can pull it"
        raise ArmError.not_runnable(
            f"The sandbox cannot run the container image '{image}': {problem}, and no image map declares a local "
            "command for it. Start podman or docker, or declare one: opslib sandbox up --image-map FILE, with "
            f"images: [{{image: '{image}', command: [...]}}]."
        )

    def has_local(self, image: str) -> bool:
        """Return whether a command is declared for an image."""
        return self._images.find(image) is not None


def image_of(environment: Resource) -> str:
    """Return an environment's image; one that is built from a Dockerfile is named by the environment."""
    return str(environment.properties.get("image") or f"{ids.name(ids.parent(environment.id))}:{environment.name}")


def read_routes(environment: Resource | None) -> Routes:
    """Return an environment's routes, each with the inference server's where it has none."""
    config = (environment.properties.get("inferenceConfig") if environment is not None else None) or {}
    return Routes(
        _route(config.get("scoringRoute"), SERVER_ROUTES.scoring),
        _route(config.get("livenessRoute"), SERVER_ROUTES.liveness),
        _route(config.get("readinessRoute"), SERVER_ROUTES.readiness),
    )


def _route(sent: Mapping[str, Any] | None, default: Route) -> Route:
    if not sent:
        return default
    try:
        port = int(sent.get("port") or default.port)
    except (TypeError, ValueError) as error:
        raise ArmError.validation("InferenceConfig", f"The port {sent.get('port')!r} must be a number.") from error
    return Route(port, "/" + str(sent.get("path") or "").lstrip("/"))


def translated(values: Mapping[str, str], folders: Iterable[str], root: Path) -> dict[str, str]:
    """Return variables for a local command: paths of the container's folders become those below the instance's."""
    changed = dict(values)
    for folder in folders:
        changed = {
            name: f"{root}{value}" if value == folder or value.startswith(f"{folder}/") else value
            for name, value in changed.items()
        }
    return changed
