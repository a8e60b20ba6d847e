"""What about a definition can only be known by creating the deployment."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from opslib.definitions.deployment import DeploymentDefinition, Serving

CURATED = ("azureml-", "azureml:azureml-")
"""How the names of Microsoft's own environments begin, which the workspace does not list as its own."""


@dataclass(frozen=True)
class Unknown:
    """One thing that is not known beforehand.

    Attributes
    ----------
    what
        What is not known.
    usual
        Whether it is so for every deployment; else a person should look at it before the run.
    """

    what: str
    usual: bool = True


def find_unknown(definition: DeploymentDefinition) -> tuple[Unknown, ...]:
    """Return what only the creation shows; a run deletes the deployment again if it fails."""
    return (*_in_assets(definition), *_in_serving(definition))


def _in_assets(definition: DeploymentDefinition) -> Iterator[Unknown]:
    for kind, reference in (("model", definition.model), ("environment", definition.environment)):
        if reference.startswith("azureml://registries/"):
            yield Unknown(f"whether the endpoint's identity may read the {kind} {reference}")
        elif reference.lower().startswith(CURATED):
            yield Unknown(f"whether the image of the curated environment {reference} can be pulled in the region")
    environment = definition.source.get("environment")
    if isinstance(environment, Mapping) and environment.get("image"):
        yield Unknown(f"whether the image {environment['image']} can be pulled")
        if environment.get("conda_file"):
            yield Unknown("whether its packages can be installed")


def _in_serving(definition: DeploymentDefinition) -> Iterator[Unknown]:
    match definition.serving:
        case Serving.SCRIPT:
            yield Unknown("whether init() of the scoring script succeeds")
        case Serving.MLFLOW if _is_custom(definition):
            yield Unknown(
                "whether the image answers requests by itself: there is no code, and no MLflow model", usual=False
            )
        case Serving.MLFLOW:
            yield Unknown("whether the MLflow model can be loaded")
        case Serving.TRITON:
            yield Unknown("whether the Triton server can load the model")
        case Serving.CONTAINER:
            yield Unknown("whether the container answers on its routes", usual=False)
        case Serving.PACKAGE:
            yield Unknown("what the packaged environment holds", usual=False)


def _is_custom(definition: DeploymentDefinition) -> bool:
    """Return whether the file has a model that is no MLflow model; a registered one's type is not in the file."""
    model = definition.source.get("model")
    return isinstance(model, Mapping) and str(model.get("type")).lower() != "mlflow_model"
