"""What scenarios write: trained models and JSON lines."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def save_model(model: Any, folder: Path) -> None:
    """Write a model as a scoring script of the scenarios reads it."""
    import joblib  # noqa: PLC0415 - comes with scikit-learn

    folder.mkdir(parents=True)
    joblib.dump(model, folder / "model.joblib")


def write_lines(path: Path, lines: Iterable[Any]) -> None:
    """Write one JSON value per line."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
