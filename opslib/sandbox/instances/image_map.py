"""The file of an image map, which declares local commands for container images.

A YAML file that `opslib sandbox up --image-map FILE` names::

    images:
      - image: docker.io/tensorflow/serving:*
        command: [python, "{map}/serve.py", --port, "{port}", --models, "{model_dir}"]
        environment: {LOG_LEVEL: info}

`image` is a pattern (`*`, `?`), the first that matches counts; `python` is the sandbox's own Python. In the command
`{port}` is the local port of the scoring route, `{port_8501}` that of the container's port 8501, `{model_dir}` the
model's folder, `{root}` the instance's folder, below which the container's folders are, `{map}` the map's folder.
"""

import re
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from opslib.sandbox.instances.local_commands import ImageMap, LocalCommand

_KNOWN = re.compile(r"port|port_\d+|model_dir|root|map")


class ImageMapError(ValueError):
    """The file cannot be read, or is no image map."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    image: str = Field(min_length=1)
    command: tuple[str, ...] = Field(min_length=1)
    environment: dict[str, str] = {}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    images: list[_Entry]


def read_image_map(path: Path) -> ImageMap:
    """Read an image map.

    Raises
    ------
    ImageMapError
        If the file cannot be read, has another form, or a placeholder is not known.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        read = [
            LocalCommand(one.image, one.command, one.environment) for one in _File.model_validate(content).images
        ]
    except OSError as error:
        raise ImageMapError(f"image map {path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ImageMapError(f"image map {path} is not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ImageMapError(
            f"image map {path}: {place}: {first['msg']}. "
            "Expected images: [{image: PATTERN, command: [WORD, ...]}]"
        ) from error
    unknown = sorted(name for one in read for name in one.placeholders() if not _KNOWN.fullmatch(name))
    if unknown:
        raise ImageMapError(
            f"image map {path}: the placeholder {{{unknown[0]}}} is not known. Known are port, port_NUMBER, "
            "model_dir, root and map"
        )
    return ImageMap(tuple(read), path.absolute().parent)
