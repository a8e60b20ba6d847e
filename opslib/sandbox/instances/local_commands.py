"""Local commands that run in place of container images, where no container engine is."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class LocalCommand:
    """A command that runs in place of the images that match a pattern (`*`, `?`)."""

    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def filled(self, values: Mapping[str, str]) -> list[str]:
        """Return the command with its placeholders filled in.

        Examples
        --------
        >>> LocalCommand("x:*", ("serve", "--port={port}")).filled({"port": "5001"})
        ['serve', '--port=5001']
        """
        return [_PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), word) for word in self.command]

    def placeholders(self) -> set[str]:
        """Return the names in braces."""
        return {name for word in self.command for name in _PLACEHOLDER.findall(word)}


@dataclass(frozen=True)
class ImageMap:
    """The commands of one file, and its folder; the first that matches counts."""

    images: tuple[LocalCommand, ...] = ()
    folder: Path = Path()

    def find(self, image: str) -> LocalCommand | None:
        """Return the command for an image."""
        return next((one for one in self.images if fnmatchcase(image, one.image)), None)
