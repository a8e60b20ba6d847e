"""The run of a template: each resource is sent as soon as those that it depends on are there."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from opslib.sandbox.arm.http_messages import Response
from opslib.sandbox.core.clock import now_us
from opslib.sandbox.templates.evaluate import resolve
from opslib.sandbox.templates.scope import NeedsResource
from opslib.sandbox.templates.syntax import TemplateError
from opslib.sandbox.templates.template import Planned, Template

Send = Callable[[str, str, Mapping[str, str], Mapping[str, Any] | None], Awaitable[Response]]
"""Sends method, path, query and body to this sandbox, in the name of the deployment's caller."""

SETTLED = ("Succeeded", "Failed", "Canceled")
MAX_READS = 200
"""Most resources that one value may refer to."""
_POLL_EVERY_S, _MOST_POLLS = 0.05, 144_000  # two hours


class ResourceFailed(Exception):  # noqa: N818 - Azure's word: an operation has Failed
    """A resource was refused, or its operation ended in Failed."""

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        super().__init__(status, error)
        self.status = status
        self.error = dict(error)


@dataclass(frozen=True)
class Step:
    """What happened to one resource."""

    id: str
    target: Planned
    state: str
    started_us: int
    ended_us: int = 0
    status: int = 201
    error: Mapping[str, Any] | None = None


class TemplateRun:
    """One run; `changed` is called with all steps after each change."""

    def __init__(self, template: Template, send: Send, changed: Callable[[list[Step]], None]) -> None:
        self._template = template
        self._send = send
        self._changed = changed
        self._steps: dict[str, Step] = {}
        self._read: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._waits: dict[str, set[str]] = {}
        self._ended: dict[str, asyncio.Future[bool]] = {}

    async def resources(self) -> list[Mapping[str, Any]]:
        """Deploy every resource; return the errors of those that failed.

        Raises
        ------
        TemplateError
            If resources depend on each other in a circle, or on one that is not in the template.
        """
        wanted = [one for one in self._template.resources if one.wanted]
        for one in wanted:
            self._waits[one.id.lower()] = self._dependencies(one)
        self._check_circles()
        self._ended = {key: asyncio.get_running_loop().create_future() for key in self._waits}
        tasks = [asyncio.create_task(self._one(one)) for one in wanted]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return [step.error for step in self._steps.values() if step.error is not None]

    async def outputs(self) -> dict[str, Any]:
        """Return the values of the template's outputs."""
        found = {}
        for name, output in self._template.outputs.items():
            scope = self._template.scope
            if await self._evaluated(output.get("condition", True), scope):
                value = {"copy": [{"name": "value", **output["copy"]}]} if "copy" in output else output.get("value")
                made = await self._evaluated(value, scope)
                kind = str(output.get("type", ""))
                found[name] = {"type": kind.capitalize(), "value": made["value"] if "copy" in output else made}
        return found

    def _dependencies(self, planned: Planned) -> set[str]:
        found: set[str] = set()
        for name in planned.after:
            others = [one for one in self._template.resources if name in one.names]
            if not others and not name.startswith("/"):
                raise TemplateError(f"The resource '{name}' is not defined in the template.")
            found |= {one.id.lower() for one in others if one.wanted}
        return found - {planned.id.lower()}

    def _check_circles(self) -> None:
        free: set[str] = set()
        while len(free) < len(self._waits):
            ready = {key for key, others in self._waits.items() if key not in free and others <= free}
            if not ready:
                stuck = ", ".join(sorted(set(self._waits) - free))
                raise TemplateError(f"Circular dependency detected on resource: '{stuck}'.")
            free |= ready

    async def _one(self, planned: Planned) -> None:
        key, good = planned.id.lower(), False
        try:
            if all([await self._ended[other] for other in sorted(self._waits[key])]):
                good = planned.existing or await self._deploy(planned)
        finally:
            if not self._ended[key].done():
                self._ended[key].set_result(good)

    async def _deploy(self, planned: Planned) -> bool:
        step = Step(uuid.uuid4().hex[:16].upper(), planned, "Running", now_us())
        self._keep(step)
        try:
            body = await self._body(planned)
            status = await self._put(planned, body)
            step = replace(step, state="Succeeded", status=status)
        except ResourceFailed as failed:
            step = replace(step, state="Failed", status=failed.status, error=failed.error)
        except TemplateError as error:
            message = (
                f"Unable to process template language expressions for resource '{planned.id}' at line '1' and "
                f"column '1'. '{error}'"
            )
            step = replace(step, state="Failed", status=400, error={"code": "InvalidTemplate", "message": message})
        self._keep(replace(step, ended_us=now_us()))
        return step.state == "Succeeded"

    def _keep(self, step: Step) -> None:
        self._steps[step.target.id.lower()] = step
        self._changed(list(self._steps.values()))

    async def _body(self, planned: Planned) -> dict[str, Any]:
        """Return what is sent; a nested template with a scope of its own is sent as it is written."""
        properties = dict(planned.body["properties"]) if planned.inner else {}
        own = {"template": properties.pop("template")} if "template" in properties else {}
        sent = planned.body if not own else {**planned.body, "properties": properties}
        body: dict[str, Any] = await self._evaluated(sent, planned.scope, planned.id.lower())
        return {**body, "properties": {**body["properties"], **own}} if own else body

    async def _evaluated(self, value: Any, scope: Any, key: str = "") -> Any:
        for _ in range(MAX_READS):
            try:
                return resolve(value, replace(scope, read=self._read))
            except NeedsResource as needed:
                await self._fetch(needed, key)
        raise TemplateError(f"A value of the template refers to more than {MAX_READS} resources.")

    async def _fetch(self, needed: NeedsResource, key: str) -> None:
        """Read a resource that a value depends on, once it is there if this template deploys it."""
        wanted = needed.wanted.lower()
        if wanted in self._ended and wanted != key:
            if key:
                self._waits[key].add(wanted)
                self._check_circles()
            if not await self._ended[wanted]:
                raise TemplateError(f"The resource '{needed.wanted}' was not deployed.")
        planned = next((one for one in self._template.resources if one.id.lower() == wanted), None)
        version = needed.api_version or (planned.api_version if planned is not None else "")
        path = f"{needed.wanted}/{needed.action}" if needed.action else needed.wanted
        answer = await self._send("POST" if needed.action else "GET", path, {"api-version": version}, None)
        self._read[wanted, needed.action] = _good(answer)

    async def _put(self, planned: Planned, body: Mapping[str, Any]) -> int:
        """Send a resource and wait for the end of its operation; return the status of the answer."""
        answer = await self._send("PUT", planned.id, {"api-version": planned.api_version}, body)
        _good(answer)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        operation = urlsplit(headers.get("azure-asyncoperation", ""))
        if operation.path:
            await self._wait(operation.path, dict(parse_qsl(operation.query)))
        return answer.status

    async def _wait(self, path: str, query: Mapping[str, str]) -> None:
        for _ in range(_MOST_POLLS):
            shown = _good(await self._send("GET", path, query, None))
            if shown.get("status") in SETTLED:
                if shown["status"] != "Succeeded":
                    raise ResourceFailed(
                        409, shown.get("error") or {"code": shown["status"], "message": "Canceled."}
                    )
                return
            await asyncio.sleep(_POLL_EVERY_S)
        raise ResourceFailed(504, {"code": "DeploymentTimeout", "message": f"{path} did not end within two hours."})


def _good(answer: Response) -> Mapping[str, Any]:
    """Return the body of an answer, which must not be a refusal."""
    body = answer.body if isinstance(answer.body, Mapping) else {}
    if answer.status >= 400:
        raise ResourceFailed(answer.status, body.get("error") or {"code": str(answer.status), "message": ""})
    return body
