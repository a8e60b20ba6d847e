"""The models of a run by name and version, for people: registered ones as they are, others by their tags."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslib.evidence.run.files import AFTER, BEFORE
from opslib.evidence.run.record import Record
from opslib.model import asset_name

_HASH = re.compile(r"[0-9a-f]{32,}")
_TAGS = ("model_version", "model-version", "model", "version")
"""Tags of a deployment that name what an unregistered model is, the first one that is there."""


@dataclass(frozen=True)
class ModelName:
    """The model of one deployment.

    Attributes
    ----------
    name, version
        Of a registered model; of an uploaded one the tag's text, or nothing.
    content
        Digest that Azure names an uploaded model by; empty for a registered one.
    arm_id
        Its id as Azure reports it.
    """

    name: str
    version: str
    content: str
    arm_id: str

    def __str__(self) -> str:
        """Return the name for people."""
        if not self.arm_id:
            return "none"
        if not self.content:
            return f"{self.name}:{self.version}"
        return f"{self.name or 'without a name'} (uploaded, not registered: {self.content[:12]})"


def model_names(folder: Path, record: Record) -> Mapping[str, ModelName]:
    """Return the model of each deployment before or after a run, by the deployment's name."""
    tags = {name: value for file in (BEFORE, AFTER) for name, value in _tags(folder / file).items()}
    known = {**(record.deployments_before or {}), **(record.deployments_after or {})}
    return {name: _name(str(known[name].get("model") or ""), tags.get(name, {})) for name in sorted(known)}


def _name(arm_id: str, tags: Mapping[str, Any]) -> ModelName:
    name, _, version = asset_name(arm_id).partition(":")
    found = _HASH.search(arm_id)
    if not found:
        return ModelName(name, version, "", arm_id)
    tag = next((tag for tag in _TAGS if tags.get(tag)), "")
    return ModelName(f"{tag} {tags[tag]}" if tag else "", "", found.group(), arm_id)


def _tags(path: Path) -> dict[str, Mapping[str, Any]]:
    try:
        content = json.loads(path.read_bytes())
        return {one["name"]: one.get("tags") or {} for one in content["deployments"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
