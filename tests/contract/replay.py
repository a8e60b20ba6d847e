"""Make the sandbox answer what Azure was recorded to answer, in as few requests as it takes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from awaiting import wait_until
from recorded_form import Recorded, recorded_exchanges
from sandbox_fixture import RunningSandbox
from served import APP

AZURE = {"Host": "management.azure.com"}


@dataclass
class Replay:
    """One run through the recorded exchanges; `answers` holds what the sandbox answered to each."""

    sandbox: RunningSandbox
    arm: httpx.Client
    answers: dict[str, httpx.Response] = field(default_factory=dict)

    def send(self, name: str, where: str, body: Any = None, **options: Any) -> httpx.Response:
        """Send the request of a recorded exchange to an address, with its method and api-version."""
        one = recorded_exchanges()[name]
        query = _query(one) if "api-version=" not in where else {}
        self.answers[name] = self.arm.request(one.method, where, params=query or None, json=body, **options)
        return self.answers[name]

    def end(self, started: httpx.Response) -> httpx.Response:
        """Wait for the end of the operation that an answer started, and return the last poll."""
        where = started.raise_for_status().headers["Azure-AsyncOperation"]

        def ended() -> httpx.Response | None:
            poll = self.arm.get(where)
            return poll if poll.json()["status"] in ("Succeeded", "Failed") else None

        last: httpx.Response = wait_until(ended, 60)
        assert last.json()["status"] == "Succeeded", last.text
        return last

    @property
    def endpoint(self) -> str:
        """Return the id of the endpoint that the deployments share."""
        return self.sandbox.endpoint_id("recorded")

    @property
    def group(self) -> str:
        """Return the id of the workspace's resource group."""
        return self.sandbox.workspace_id.split("/providers/", maxsplit=1)[0]

    def run(self) -> dict[str, httpx.Response]:
        """Send everything."""
        steps: tuple[Callable[[], None], ...] = (
            self._endpoint,
            self._storage,
            self._assets,
            self._deployments,
            self._traffic,
            self._other_modes,
            self._monitor,
            self._ends,
        )
        for step in steps:
            step()
        return self.answers

    def _endpoint(self) -> None:
        empty = self.sandbox.workspace_id.rsplit("/", 1)[0] + "/none"
        self.send("endpoint list, none", f"{empty}/onlineEndpoints")
        self.send("endpoint delete, absent", f"{self.endpoint}-absent")
        made = self.send("endpoint create, 2022", self.endpoint, _endpoint_body("Key"))
        self.answers["operation succeeded, 2022"] = self.end(made)
        self.send("endpoint get, ready", self.endpoint)
        self.send("endpoint keys, Key", f"{self.endpoint}/listKeys", {})

    def _storage(self) -> None:
        stores = f"{self.sandbox.workspace_id}/datastores"
        home = f"{stores}/workspaceblobstore"
        self.send("datastore get, account key", home, headers=AZURE)
        self.send("datastore secrets, account key", f"{home}/listSecrets", {}, headers=AZURE)
        self.send("datastore get, absent", f"{stores}/absent")
        container = self.answers["datastore get, account key"].json()["properties"]["containerName"]
        by_identity = {"credentialsType": "None"}
        sent = {**_DATASTORE, "containerName": container, "credentials": by_identity}
        for name in ("datastore put, new", "datastore put, existing"):
            self.send(name, f"{stores}/mine", {"properties": sent})
        self.send("datastore get, identity-based", f"{stores}/mine")
        self.send("datastore secrets, identity-based", f"{stores}/mine/listSecrets", {})
        self.send("datastore delete", f"{stores}/mine")

    def _assets(self) -> None:
        for kind, folder, field_ in (("codes", "code", "codeUri"), ("models", "model", "modelUri")):
            place = self._upload(kind, folder)
            version = f"{self.sandbox.workspace_id}/{kind}/recorded/versions/1"
            sent = {"isAnonymous": False, field_: place, "properties": _HASH if kind == "codes" else {}}
            for name in (f"{folder} put, new", *_AGAIN[folder]):
                self.send(name, version, {"properties": sent})
        self.send("code get", f"{self.sandbox.workspace_id}/codes/recorded/versions/1")
        self._environments()
        anonymous = f"{self.sandbox.workspace_id}/models/recorded-anonymous/versions"
        sent = {"isAnonymous": True, "modelUri": place}
        self.arm.put(f"{anonymous}/1", json={"properties": sent}).raise_for_status()
        self.send("model list, only anonymous versions", anonymous)

    def _environments(self) -> None:
        environments = f"{self.sandbox.workspace_id}/environments"
        image = {"image": "mcr.microsoft.com/azureml/minimal-py312-inference:latest"}
        plain = f"{environments}/recorded/versions/1"
        conda = {"condaFile": (APP / "conda.yml").read_text(), **image}
        anonymous = f"{environments}/CliV2AnonymousEnvironment/versions/a1"
        for where, sent in ((plain, image), (anonymous, {**conda, "isAnonymous": True})):
            self.arm.put(where, json={"properties": sent}).raise_for_status()
        self.send("environment put, existing, 2022", plain, {"properties": image})
        self.send("environment put, existing, anonymous", anonymous, {"properties": {**conda, "isAnonymous": True}})
        self.send("environment get", plain)

    def _upload(self, kind: str, folder: str) -> str:
        """Upload a folder as the Python client does, and return its address."""
        path = f"{self.sandbox.workspace_id}/{kind}/recorded/versions/1/startPendingUpload"
        place = self.arm.post(path, json={}).raise_for_status().json()["blobReferenceForConsumption"]
        base, signature = place["credential"]["sasUri"].split("?")
        target = f"{base}/onlinescoring" if kind == "codes" else f"{base}/{folder}"
        for file in (APP / folder).glob("*.*"):
            blob = f"{target}/{file.name}?{signature}"
            self.arm.put(
                blob, content=file.read_bytes(), headers={"x-ms-blob-type": "BlockBlob"}
            ).raise_for_status()
        meta = {"x-ms-meta-name": "recorded", "x-ms-meta-version": "1", "x-ms-meta-upload_status": "completed"}
        self.arm.put(f"{blob}&comp=metadata", headers=meta).raise_for_status()
        self.answers["blob head"] = self.arm.head(blob)
        self.answers["blob head, absent"] = self.arm.head(f"{target}/none?{signature}")
        return target

    def _deployments(self) -> None:
        started = {
            "blue": self.send("deployment create, 2022", self._deployment("blue"), self._deployment_body()),
            "green": self.send("deployment create, 2024", self._deployment("green"), self._deployment_body()),
            "red": self.send("deployment create, 2025", self._deployment("red"), self._deployment_body()),
        }
        self.answers["operation running, 2022"] = self.arm.get(started["blue"].headers["Azure-AsyncOperation"])
        self.answers["operation running, 2025"] = self.arm.get(started["red"].headers["Azure-AsyncOperation"])
        for answer in started.values():
            last = self.end(answer)
        self.answers["operation succeeded, 2024-2026"] = last
        self.send("deployment get, 2022-2025", self._deployment("blue"))
        red = self.send("deployment get, 2025", self._deployment("red")).json()
        self.end(self.send("deployment update, 2025", self._deployment("red"), {**red, "sku": {"capacity": 1}}))
        self.send("deployment skus", f"{self._deployment('red')}/skus")
        self.send("deployment logs", f"{self._deployment('red')}/getLogs", {})
        self.send("usages", f"{_region(self.sandbox)}/usages")

    def _traffic(self) -> None:
        body = self.answers["endpoint get, ready"].json()
        for name, traffic in (("", {"blue": 100}), ("endpoint put, existing, traffic", {"blue": 0, "green": 100})):
            body["properties"]["traffic"] = traffic
            put = self.send(name, self.endpoint, body) if name else self.arm.put(self.endpoint, json=body)
            self.end(put)
        scoring = self.send("endpoint get after traffic", self.endpoint).json()["properties"]["scoringUri"]
        key = self.answers["endpoint keys, Key"].json()["primaryKey"]
        self.send("score", scoring, {"data": [1]}, headers={"Authorization": f"Bearer {key}"})

    def _other_modes(self) -> None:
        entra, token = self.sandbox.endpoint_id("recorded-entra"), self.sandbox.endpoint_id("recorded-token")
        self.end(self.send("endpoint create, 2026", entra, _endpoint_body("AADToken")))
        self.send("endpoint get, ready, AADToken", entra)
        self.end(self.send("endpoint put, existing, 2024", entra, _endpoint_body("AADToken")))
        self.send("endpoint keys, AADToken", f"{entra}/listKeys", {})
        self.end(self.arm.put(token, json=_endpoint_body("AMLToken")))
        self.send("endpoint token", f"{token}/token", {})

    def _monitor(self) -> None:
        setting = f"{self.endpoint}/providers/Microsoft.Insights/diagnosticSettings/all"
        self.send("diagnostic categories", f"{setting.rsplit('/', 1)[0]}Categories")
        logs = [{"category": "AmlOnlineEndpointTrafficLog", "enabled": True}]
        metrics = [{"category": "AllMetrics", "enabled": False}]
        workspace = f"{self.group}/providers/Microsoft.OperationalInsights/workspaces/logs"
        sent = {"workspaceId": workspace, "logs": logs, "metrics": metrics}
        self.send("diagnostic setting put, new", setting, {"properties": sent})
        self.send("diagnostic setting get", setting)
        scale = f"{self.group}/providers/Microsoft.Insights/autoscaleSettings/recorded"
        self.send("autoscale put, new", scale, _autoscale(self._deployment("red"))).raise_for_status()
        self.send("autoscale delete", scale)
        metrics_of = f"{self.sandbox.endpoint_id('counted')}/providers/Microsoft.Insights/metrics"
        query = "metricnames=RequestsPerMinute&$filter=deployment eq '*'&api-version=2023-10-01"
        wait_until(lambda: self.send("metrics", f"{metrics_of}?{query}").json()["value"][0]["timeseries"], 90)

    def _ends(self) -> None:
        deleted = self.send("deployment delete", self._deployment("red"))
        self.end(deleted)
        self.answers["operation result after delete"] = self.arm.get(deleted.headers["Location"])
        self.send("endpoint delete", self.sandbox.endpoint_id("recorded-entra"))

    def _deployment(self, name: str) -> str:
        return f"{self.endpoint}/deployments/{name}"

    def _deployment_body(self) -> dict[str, Any]:
        workspace = self.sandbox.workspace_id
        properties = {
            "endpointComputeType": "Managed",
            "instanceType": "STANDARD_D2A_V4",
            "model": f"{workspace}/models/recorded/versions/1",
            "environmentId": f"{workspace}/environments/recorded/versions/1",
            "codeConfiguration": {"codeId": f"{workspace}/codes/recorded/versions/1", "scoringScript": "score.py"},
        }
        return {"location": "eastus", "sku": {"name": "Default", "capacity": 1}, "properties": properties}


_AGAIN = {
    "code": ("code put, existing",),
    "model": ("model put, existing, 2022", "model put, existing, 2025", "model put, existing, stable version"),
}
_HASH = {"hash_sha256": "0" * 64, "hash_version": "202208"}
_DATASTORE = {"datastoreType": "AzureBlob", "accountName": "pictures"}


def _query(one: Recorded) -> dict[str, str]:
    query = dict(pair.split("=", 1) for pair in one.path.partition("?")[2].split("&") if pair)
    return {**query, "api-version": one.api_version} if one.api_version else query


def _region(sandbox: RunningSandbox) -> str:
    subscription = sandbox.workspace["subscription_id"]
    return f"/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices/locations/eastus"


def _endpoint_body(auth_mode: str) -> dict[str, Any]:
    identity = {"type": "SystemAssigned"}
    return {"location": "eastus", "identity": identity, "properties": {"authMode": auth_mode, "traffic": {}}}


def _autoscale(target: str) -> dict[str, Any]:
    trigger = {
        "metricName": "CpuUtilizationPercentage",
        "metricResourceUri": target,
        "timeGrain": "PT1M",
        "statistic": "Average",
        "timeWindow": "PT10M",
        "timeAggregation": "Average",
        "operator": "GreaterThan",
        "threshold": 90,
        "dividePerInstance": False,
    }
    action = {"direction": "Increase", "type": "ChangeCount", "value": "1", "cooldown": "PT5M"}
    profile = {
        "name": "day",
        "capacity": {"minimum": "1", "maximum": "2", "default": "1"},
        "rules": [{"metricTrigger": trigger, "scaleAction": action}],
        "fixedDate": {
            "timeZone": "W. Europe Standard Time",
            "start": "2099-01-01T08:00:00",
            "end": "2099-01-01T18:00:00+01:00",
        },
    }
    notification = {"operation": "scale", "email": {}, "webhooks": [{"serviceUri": "https://example.com"}]}
    properties = {
        "enabled": False,
        "targetResourceUri": target,
        "profiles": [profile],
        "notifications": [notification],
        "predictiveAutoscalePolicy": {"scaleMode": "Disabled", "scaleLookAheadTime": "PT14M"},
    }
    return {"location": "eastus", "tags": {}, "properties": properties}
