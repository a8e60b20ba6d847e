"""Microsoft's curated environments: a small catalogue of the registry `azureml`, and what their names promise.

Names: `azureml://registries/azureml/environments/{name}` as published files use them. The version numbers are the
sandbox's own: a deployment that pins another one of Microsoft's is served as well, with the catalogue's packages.
Of an image only the packages that its name promises are listed.
"""

import re
from dataclasses import dataclass

REGISTRY = "azureml"
WELL_KNOWN = frozenset(
    {
        *("azureml", "azureml-staging", "azureml-preview", "azureml-restricted", "azureml-msr", "azureml-meta"),
        *(
            "azureml-mistral",
            "azureml-cohere",
            "azureml-ai21",
            "azureml-nvidia",
            "azureml-core42",
            "azureml-deepseek",
        ),
        *("azureml-databricks", "azureml-snowflake", "azureml-stabilityai", "azureml-xai", "azure-openai"),
        *("azure-openai-models", "nvidia-ai", "huggingface"),
    }
)
"""Registries of Microsoft and its partners, which any workspace can read on Azure; lower case."""

_SERVER = ("azureml-inference-server-http",)
_SKLEARN = ("scikit-learn", "numpy", "pandas")
_MLFLOW = ("mlflow", *_SERVER)


@dataclass(frozen=True)
class Curated:
    """One curated environment: its latest version here, and the packages that its name promises."""

    name: str
    version: str
    packages: tuple[str, ...]

    @property
    def image(self) -> str:
        """The image's name; it is never pulled."""
        return f"mcr.microsoft.com/azureml/curated/{self.name}:{self.version}"

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the packages that this Python lacks."""
        return tuple(one for one in self.packages if not _version(one))


_ROWS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("acpt-pytorch-1.13-cuda11.7", "30", ("torch",)),
    ("acpt-pytorch-2.2-cuda12.1", "40", ("torch",)),
    ("acpt-pytorch-2.8-cuda12.6", "3", ("torch",)),
    ("lightgbm-3.3", "70", ("lightgbm", *_SKLEARN)),
    ("minimal-py311-inference", "20", _SERVER),
    ("minimal-py312-inference", "6", _SERVER),
    ("minimal-py312-cuda12.4-inference", "4", _SERVER),
    ("minimal-ubuntu20.04-py38-cpu-inference", "60", _SERVER),
    ("minimal-ubuntu20.04-py39-cpu-inference", "60", _SERVER),
    ("minimal-ubuntu22.04-py39-cpu-inference", "30", _SERVER),
    ("mlflow-py312-inference", "6", _MLFLOW),
    ("mlflow-ubuntu20.04-py38-cpu-inference", "60", _MLFLOW),
    ("onnxruntime-1.6-ubuntu18.04-py37-cpu-inference", "60", ("onnxruntime", *_SERVER)),
    ("pytorch-1.9-ubuntu18.04-py37-cpu-inference", "60", ("torch", *_SERVER)),
    ("responsibleai-ubuntu20.04-py38-cpu", "50", ("responsibleai", *_SKLEARN)),
    ("sklearn-0.24-ubuntu18.04-py37-cpu", "50", _SKLEARN),
    ("sklearn-1.0", "30", _SKLEARN),
    ("sklearn-1.0-ubuntu20.04-py38-cpu", "70", _SKLEARN),
    ("sklearn-1.1", "40", _SKLEARN),
    ("sklearn-1.5", "52", _SKLEARN),
    ("tensorflow-2.4-ubuntu18.04-py37-cpu-inference", "60", ("tensorflow", *_SERVER)),
    ("tensorflow-2.12-cuda11", "30", ("tensorflow",)),
    ("tensorflow-2.16-cuda12", "20", ("tensorflow",)),
    ("xgboost-0.9-ubuntu18.04-py37-cpu-inference", "60", ("xgboost", *_SERVER)),
)
CATALOGUE = {row[0].lower(): Curated(*row) for row in _ROWS}


def find_curated(name: str) -> Curated | None:
    """Return a curated environment by its name in the registry, or by that of a workspace.

    Examples
    --------
    >>> find_curated("AzureML-sklearn-1.5") == find_curated("sklearn-1.5") is not None
    True
    """
    return CATALOGUE.get(name.lower().removeprefix("azureml-"))


def is_curated_name(name: str) -> bool:
    """Return whether a workspace's environment of this name is one of Microsoft's."""
    return name.lower().startswith("azureml-")


def version_notes(one: Curated) -> list[str]:
    """Return a line for each package whose version is not that which the environment's name has."""
    named = re.match(r"(?:acpt-)?([a-z]+)-(\d+\.\d+)", one.name)
    if named is None or not one.packages:
        return []
    package = one.packages[0]
    present = _version(package)
    if not present or present == named[2] or present.startswith(f"{named[2]}."):
        return []
    return [f"Package {package} {named[2]} is promised by {one.name}, {present} runs."]


def _version(package: str) -> str:
    """Return the version that is installed; "" if none is."""
    from importlib import metadata  # noqa: PLC0415 - it imports the parsers of mail

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
