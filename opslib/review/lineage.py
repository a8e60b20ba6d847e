"""Rules about lineage: each deployment's model and environment are registered, approved and pinned."""

import re
from collections.abc import Iterator

import yaml

from opslib.model import Deployment
from opslib.model.surroundings import Asset, Unread
from opslib.policy.security import Security
from opslib.review.facts import Facts
from opslib.review.finding import ReviewFinding, Severity

_REJECTED = frozenset({"", "false", "no", "none", "rejected"})
_PINNED = re.compile(r"==\s*[^*\s]|(?<![<>!=~])=\s*\d|@\s*\S+|\s@\s")
_SHOWN = 4


def check_lineage(facts: Facts, security: Security) -> Iterator[ReviewFinding]:
    """What each deployment runs can be named, was approved, and would be the same if it were built again."""
    for deployment in facts.endpoint.deployments:
        properties = deployment.arm["properties"]
        yield from _check_model(deployment, facts.assets.get(str(properties.get("model") or "").lower()), security)
        yield from _check_environment(
            deployment, facts.assets.get(str(properties.get("environmentId") or "").lower())
        )


def _check_model(
    deployment: Deployment, asset: Asset | Unread | None, security: Security
) -> Iterator[ReviewFinding]:
    where, model = f"deployment {deployment.name}", deployment.model
    if isinstance(asset, Unread) or (asset is None and not model):
        return  # a container or a model package brings its own model
    if asset is None or asset.anonymous:
        yield ReviewFinding(
            "model-unregistered",
            Severity.MEDIUM,
            where,
            f"its model {model} is not a registered one: it was uploaded with the deployment",
            "Register the model (az ml model create), approve the version, and deploy azureml:NAME:VERSION.",
        )
    elif not asset.found:
        yield ReviewFinding(
            "model-missing",
            Severity.HIGH,
            where,
            f"its model {model} is no longer registered: it cannot be deployed again",
            "Register it again from its source, or release a version that is registered.",
        )
    elif asset.tags.get(security.approved_tag, "").lower() in _REJECTED:
        yield ReviewFinding(
            "model-unapproved",
            Severity.MEDIUM,
            where,
            f"its model {model} has {_lacks(asset, security.approved_tag)}",
            f"Have the version approved, and set the tag: az ml model update --name NAME --version VERSION "
            f"--set tags.{security.approved_tag}=WHO",
        )


def _lacks(asset: Asset, tag: str) -> str:
    """Return what a model that is not approved has in place of the tag."""
    if tag in asset.tags:
        return f"the tag {tag!r} with the value {asset.tags[tag]!r}: it was not approved"
    return f"no tag {tag!r}: {f'tags are {sorted(asset.tags)}' if asset.tags else 'it has no tags'}"


def _check_environment(deployment: Deployment, asset: Asset | Unread | None) -> Iterator[ReviewFinding]:
    where, environment = f"deployment {deployment.name}", deployment.environment
    if isinstance(asset, Unread) or (asset is None and not environment):
        return  # an MLflow model brings its own environment
    if asset is None or asset.anonymous:
        yield ReviewFinding(
            "environment-unregistered",
            Severity.LOW,
            where,
            f"its environment {environment} is not a registered one: it was defined with the deployment",
            "Register the environment (az ml environment create), and deploy azureml:NAME:VERSION.",
        )
    if asset is None:
        return
    if not asset.found:
        yield ReviewFinding(
            "environment-missing",
            Severity.HIGH,
            where,
            f"its environment {environment} is no longer registered: it cannot be built again",
            "Register it again from its source.",
        )
    if asset.image and (problem := find_mutable(asset.image)):
        yield ReviewFinding(
            "image-mutable",
            Severity.MEDIUM,
            where,
            f"its image {asset.image} {problem}: the next build may have another content",
            "Pin the image by its digest: NAME@sha256:..., or by a tag that is never moved.",
        )
    if unpinned := find_unpinned(asset.conda):
        more = f" and {len(unpinned) - _SHOWN} more" if len(unpinned) > _SHOWN else ""
        yield ReviewFinding(
            "packages-unpinned",
            Severity.LOW,
            where,
            f"its conda file does not pin {', '.join(unpinned[:_SHOWN])}{more}",
            "Give each package one version (==), so that a rebuild has the same content.",
        )


def find_mutable(image: str) -> str:
    """Return why an image's name may mean another content tomorrow; "" for a digest or a fixed tag.

    Examples
    --------
    >>> find_mutable("mcr.microsoft.com/azureml/minimal:latest"), find_mutable("registry:5000/minimal")
    ('has the tag latest', 'has no tag')
    >>> find_mutable("mcr.microsoft.com/azureml/minimal:20260101.v1"), find_mutable("minimal@sha256:ab")
    ('', '')
    """
    if "@sha256:" in image:
        return ""
    name, colon, tag = image.rsplit("/", 1)[-1].partition(":")
    del name
    if not colon:
        return "has no tag"
    return f"has the tag {tag}" if tag.lower() in {"latest", "stable", "dev", "main", "master", "nightly"} else ""


def find_unpinned(conda: str) -> tuple[str, ...]:
    """Return the packages of a conda file that have no single version; none where it cannot be read.

    Examples
    --------
    >>> find_unpinned("dependencies: [python=3.11, numpy, {pip: [scikit-learn==1.5.0, pandas>=2]}]")
    ('numpy', 'pandas')
    """
    try:
        content = yaml.safe_load(conda) if conda else None
    except (yaml.YAMLError, ValueError):  # the latter of a date that does not exist
        return ()
    dependencies = content.get("dependencies") if isinstance(content, dict) else None
    found: list[str] = []
    for one in dependencies if isinstance(dependencies, list) else []:
        lines = one.get("pip") or [] if isinstance(one, dict) else [one]
        found += [str(line) for line in lines if str(line) != "pip" and not str(line).startswith("-")]
    return tuple(re.split(r"[\s<>=!~;\[]", line, maxsplit=1)[0] for line in found if not _PINNED.search(line))
