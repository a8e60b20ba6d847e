"""A live deployment as its YAML (CLI v2): what is written deploys the same again.

Sources: azure-ai-ml 1.35, ManagedOnlineDeploymentSchema and ManagedOnlineDeployment._to_rest_object (which field of
the YAML becomes which of ARM); azure-recorded (what the service fills in by itself).
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter

from opslib.model import SERVICE_VARIABLES, Deployment
from opslib.scaffold.yaml_file import Section, YamlFile, hide_secrets

SCHEMA = "https://azuremlschemas.azureedge.net/latest/managedOnlineDeployment.schema.json"

_DURATION = TypeAdapter(timedelta)
_REQUESTS_MS = {"requestTimeout": "request_timeout_ms", "maxQueueWait": "max_queue_wait_ms"}
_PROBE_S = {"initialDelay": "initial_delay", "period": "period", "timeout": "timeout"}
_PROBE_COUNTS = {"failureThreshold": "failure_threshold", "successThreshold": "success_threshold"}


def deployment_file(deployment: Deployment, endpoint: str, workspace_id: str, weight: int) -> YamlFile:
    """Return the definition of a deployment.

    Parameters
    ----------
    deployment
        As Azure reports it.
    endpoint
        Its endpoint's name.
    workspace_id
        ARM id of the workspace, whose own assets are named without it.
    weight
        Its share of live traffic now, which a comment states [percent].
    """
    properties = deployment.arm["properties"]
    variables, secret_variables = hide_secrets("environment_variables", _variables(properties))
    tags, secret_tags = hide_secrets("tags", deployment.arm.get("tags") or {})
    placeholders = (*secret_variables, *secret_tags)
    head = {"$schema": SCHEMA, "name": deployment.name, "endpoint_name": endpoint}
    if properties.get("description"):
        head["description"] = properties["description"]
    sections = [
        Section(
            [
                f"yaml-language-server: $schema={SCHEMA}",
                f"Deployment {deployment.name} of endpoint {endpoint}, as it was live ({weight} % of the traffic).",
                "A new version gets a file and a name of its own: opslib run deploy -p definition=THIS_FILE",
            ],
            head,
        ),
        Section(
            ["The versions that are live. `@latest` would name another version tomorrow."],
            dict(_assets(properties, workspace_id)),
        ),
        Section(
            _about_variables(secret_variables) if variables else (),
            {"environment_variables": variables} if variables else {},
        ),
        Section(
            ["Azure reserves 20 % more cores than the instances have, for upgrades."],
            {"instance_type": deployment.instance_type, "instance_count": deployment.instance_count},
        ),
        Section(
            ["An instance works on this many requests at once; more wait in its queue, then get 429."],
            {"request_settings": _request_settings(properties.get("requestSettings") or {})},
        ),
        *_probes(properties),
        Section((), dict(_rest(properties))),
        Section((), {"tags": tags} if tags else {}),
    ]
    return YamlFile(file_name(deployment.name), sections, placeholders)


def file_name(deployment: str) -> str:
    """Return the file's name; a deployment may be called as another file of the folder is."""
    return f"{deployment}-deployment.yml" if deployment.lower() in {"endpoint", "policy"} else f"{deployment}.yml"


def _about_variables(secret: tuple[str, ...]) -> list[str]:
    if not secret:
        return [
            "Names and values as text. A secret is a reference: ${{azureml://connections/NAME/credentials/KEY}}"
        ]
    names = ", ".join(name.partition(".")[2] for name in secret)
    return [
        f"Secrets were not written: {names}. Give each as a reference that the service resolves, such as",
        "${{azureml://connections/NAME/credentials/KEY}}, or fill it in when you deploy, from a secret store.",
    ]


def _variables(properties: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: value
        for name, value in (properties.get("environmentVariables") or {}).items()
        if name not in SERVICE_VARIABLES
    }


def _assets(properties: Mapping[str, Any], workspace_id: str) -> Iterator[tuple[str, Any]]:
    if properties.get("model"):
        yield "model", _reference(properties["model"], workspace_id)
    if properties.get("modelMountPath"):
        yield "model_mount_path", properties["modelMountPath"]
    code = properties.get("codeConfiguration") or {}
    if code.get("codeId"):
        yield (
            "code_configuration",
            {"code": _reference(code["codeId"], workspace_id), "scoring_script": code.get("scoringScript")},
        )
    if properties.get("environmentId"):
        yield "environment", _reference(properties["environmentId"], workspace_id)


def _reference(asset_id: str, workspace_id: str) -> str:
    """Return ``azureml:name:version`` for an asset of the workspace, else the id itself."""
    inside = asset_id.lower().startswith(f"{workspace_id.lower()}/")
    parts = asset_id.split("/")
    if inside and len(parts) > 3 and parts[-2] == "versions":
        return f"azureml:{parts[-3]}:{parts[-1]}"
    return f"azureml:{asset_id}" if asset_id.startswith("/") else asset_id


def _request_settings(settings: Mapping[str, Any]) -> dict[str, int]:
    found = {name: _seconds(settings[arm]) * 1000 for arm, name in _REQUESTS_MS.items() if settings.get(arm)}
    concurrent = settings.get("maxConcurrentRequestsPerInstance")
    limit = {} if concurrent is None else {"max_concurrent_requests_per_instance": int(concurrent)}
    return limit | {name: round(value) for name, value in found.items() if value}


def _probes(properties: Mapping[str, Any]) -> Iterator[Section]:
    readable = {"livenessProbe": "liveness_probe", "readinessProbe": "readiness_probe"}
    found = {name: _probe(properties[arm]) for arm, name in readable.items() if properties.get(arm)}
    if found:
        about = "Seconds. An instance that fails its liveness probe is restarted; an unready one gets no traffic."
        yield Section([about], found)
    if properties.get("startupProbe"):
        values = ", ".join(f"{name}: {value}" for name, value in _probe(properties["startupProbe"]).items())
        about = "azure-ai-ml 1.35 refuses a startup probe. The live one, which only the REST API can set"
        yield Section([f"{about}: {values}"])


def _probe(probe: Mapping[str, Any]) -> dict[str, int]:
    seconds = {name: round(_seconds(probe[arm])) for arm, name in _PROBE_S.items() if probe.get(arm)}
    return seconds | {name: int(probe[arm]) for arm, name in _PROBE_COUNTS.items() if probe.get(arm) is not None}


def _rest(properties: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if properties.get("egressPublicNetworkAccess"):
        yield "egress_public_network_access", str(properties["egressPublicNetworkAccess"]).lower()
    if properties.get("appInsightsEnabled"):
        yield "app_insights_enabled", True
    if properties.get("dataCollector"):
        yield "data_collector", _data_collector(properties["dataCollector"])
    own = {
        str(name): str(value)
        for name, value in (properties.get("properties") or {}).items()
        if not str(name).lower().startswith("azure")
    }
    if own:
        yield "properties", own


def _data_collector(collector: Mapping[str, Any]) -> dict[str, Any]:
    collections = collector.get("collections") or {}
    found: dict[str, Any] = {
        "collections": {
            name: {
                "enabled": "true" if str(one.get("dataCollectionMode")).lower() == "enabled" else "false",
                **({"client_id": one["clientId"]} if one.get("clientId") else {}),
            }
            for name, one in collections.items()
        }
    }
    rates = {one.get("samplingRate") for one in collections.values()} - {None}
    if rates:
        found["sampling_rate"] = max(rates)
    if collector.get("rollingRate"):
        found["rolling_rate"] = str(collector["rollingRate"]).lower()
    headers = (collector.get("requestLogging") or {}).get("captureHeaders")
    return found | ({"request_logging": {"capture_headers": list(headers)}} if headers else {})


def _seconds(duration: str) -> float:
    """Read an ISO 8601 duration, such as PT1M30S."""
    return _DURATION.validate_python(duration).total_seconds()
