"""Template deployments: their state on record, and their runs.

A deployment is stored before it is answered, and its work is repeatable: one that a crash interrupts is run again
when the sandbox starts.
"""

import asyncio
import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.store import Store
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import iso_offset, now_us
from opslib.sandbox.identity.directory import Directory
from opslib.sandbox.identity.tokens import Tokens
from opslib.sandbox.templates.run import SETTLED, ResourceFailed, Send, Step, TemplateRun
from opslib.sandbox.templates.scope import Place
from opslib.sandbox.templates.syntax import TemplateError
from opslib.sandbox.templates.template import Template, read_template

KIND = "templateDeployments"
Answer = Callable[[Request], Awaitable[Response]]
logger = logging.getLogger("opslib.sandbox")
_TOKEN_LIFETIME_S = 3 * 3600.0
_FAILED = (
    "At least one resource deployment operation failed. Please list deployment operations for details. Please see "
    "https://aka.ms/arm-deployment-operations for usage details."
)


class TemplateDeployments:
    """Runs the template deployments of one sandbox."""

    def __init__(self, store: Store, directory: Directory, tokens: Tokens, base_url: str, location: str) -> None:
        self._store = store
        self._directory = directory
        self._tokens = tokens
        self._base_url = base_url
        self._location = location
        self._answer: Answer | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def connect(self, answer: Answer) -> None:
        """Give what answers the requests that a deployment makes."""
        self._answer = answer

    def plan(self, deployment_id: str, template: Mapping[str, Any], parameters: Mapping[str, Any]) -> Template:
        """Return what a deployment would deploy.

        Raises
        ------
        TemplateError
            If Azure Resource Manager would refuse the template.
        """
        return read_template(template, parameters, self._place(deployment_id))

    def begin(self, deployment: Resource) -> Resource:
        """Store a deployment, which stops the earlier run of its name, and run it."""
        stored = self._store.put(deployment)
        self._run(stored)
        return stored

    async def cancel(self, deployment: Resource) -> None:
        """Stop a run; what it has deployed stays."""
        await self._stop(deployment.key)
        self._end(
            deployment.key, "Canceled", {"code": "DeploymentCanceled", "message": "The deployment was canceled."}
        )

    def recover(self) -> None:
        """After a start: run again what was interrupted."""
        for one in self._store.all(KIND):
            if one.state not in SETTLED:
                self._run(one)

    async def close(self) -> None:
        """Stop working; unfinished deployments stay on record."""
        for key in list(self._tasks):
            await self._stop(key)

    async def _stop(self, key: str) -> None:
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _run(self, deployment: Resource) -> None:
        before = self._tasks.pop(deployment.key, None)
        if before is not None:
            before.cancel()
        self._tasks[deployment.key] = asyncio.create_task(self._work(deployment))

    async def _work(self, deployment: Resource) -> None:
        parameters = json.loads(deployment.secrets["parameters"])
        try:
            template = self.plan(deployment.id, deployment.internal["template"], parameters)
            run = TemplateRun(template, self._sender(deployment), lambda steps: self._show(deployment.key, steps))
            errors = await run.resources()
            if errors:
                self._end(
                    deployment.key, "Failed", {"code": "DeploymentFailed", "message": _FAILED, "details": errors}
                )
                return
            self._end(deployment.key, "Succeeded", None, await run.outputs())
        except (TemplateError, ResourceFailed) as error:
            message = str(error) if isinstance(error, TemplateError) else str(error.error.get("message"))
            self._end(deployment.key, "Failed", {"code": "DeploymentFailed", "message": message})
        except Exception as error:
            logger.exception("deployment %s broke", deployment.id)
            self._end(deployment.key, "Failed", {"code": "InternalServerError", "message": str(error)})

    def _show(self, key: str, steps: list[Step]) -> None:
        deployment = self._store.get(key)
        if deployment is not None:
            rows = [operation_row(deployment.id, step) for step in steps]
            running = deployment.with_properties(provisioningState="Running")
            self._store.put(replace(running, internal={**running.internal, "operations": rows}))

    def _end(
        self, key: str, state: str, error: Mapping[str, Any] | None, outputs: Mapping[str, Any] | None = None
    ) -> None:
        deployment = self._store.get(key)
        if deployment is None:
            return
        made = [
            {"id": row["properties"]["targetResource"]["id"]}
            for row in deployment.internal.get("operations", ())
            if row["properties"]["provisioningState"] == "Succeeded"
        ]
        now = now_us()
        self._store.put(
            deployment.with_properties(
                provisioningState=state,
                timestamp=iso_offset(now),
                duration=duration(deployment.internal["began_us"], now),
                outputResources=made,
                **({"error": error} if error is not None else {"outputs": outputs or {}}),
            )
        )

    def _sender(self, deployment: Resource) -> Send:
        """Return what sends a request in the name of the deployment's caller: its roles decide."""

        async def send(
            method: str, path: str, query: Mapping[str, str], body: Mapping[str, Any] | None
        ) -> Response:
            caller = self._directory.find(str(deployment.internal["caller"]))
            if caller is None or self._answer is None:
                raise ResourceFailed(401, {"code": "AuthenticationFailed", "message": "The caller is no more."})
            token = self._tokens.issue_for(caller, self._base_url, _TOKEN_LIFETIME_S).token
            headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
            content = b"" if body is None else json.dumps(body).encode()
            request = Request(method, path, query, headers, content, self._base_url, str(uuid.uuid4()))
            return await self._answer(request)

        return send

    def _place(self, deployment_id: str) -> Place:
        parts = deployment_id.strip("/").split("/")
        group = parts[3] if parts[2].lower() == "resourcegroups" else ""
        known = self._store.get(deployment_id.split("/providers/", maxsplit=1)[0])
        location = str(known.body["location"]) if known is not None and group else self._location
        return Place(parts[1], group, location, ids.name(deployment_id))


def operation_row(deployment_id: str, step: Step) -> dict[str, Any]:
    """Return one of a deployment's operations as Azure shows it."""
    target, ended_us = step.target, step.ended_us or now_us()
    row = {
        "provisioningOperation": "Create",
        "provisioningState": step.state,
        "timestamp": iso_offset(ended_us),
        "duration": duration(step.started_us, ended_us),
        "trackingId": str(uuid.uuid5(uuid.NAMESPACE_URL, step.id)),
        "statusCode": HTTPStatus(step.status).phrase.replace(" ", ""),
        "targetResource": {"id": target.id, "resourceType": target.kind, "resourceName": ids.name(target.id)},
    }
    if step.error is not None:
        row["statusMessage"] = {"status": "Failed", "error": step.error}
    return {"id": f"{deployment_id}/operations/{step.id}", "operationId": step.id, "properties": row}


def duration(began_us: int, ended_us: int) -> str:
    """Return a duration as ARM shows it (ISO 8601)."""
    return f"PT{max(ended_us - began_us, 0) / 1e6:.7f}S"
