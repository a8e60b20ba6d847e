"""The daemon: wires one sandbox, serves it, and publishes its note when it is ready."""

import gc

if __name__ == "__main__":
    gc.disable()  # until all is imported, of which nothing can be freed

import argparse
import asyncio
import json
import logging
import os
import shutil
import signal
import socket
from pathlib import Path
from typing import Any

import uvloop

from opslib.sandbox.arm.store import Store
from opslib.sandbox.core.certificates import ensure_signing_key
from opslib.sandbox.core.clock import iso_now
from opslib.sandbox.core.context import Backend
from opslib.sandbox.core.home import Home
from opslib.sandbox.core.process import ProcessId
from opslib.sandbox.core.settings import Settings
from opslib.sandbox.endpoints.artifacts import Artifacts
from opslib.sandbox.endpoints.consistency import ReadLag
from opslib.sandbox.endpoints.lifecycle import Lifecycle
from opslib.sandbox.faults.registry import Faults
from opslib.sandbox.graph.quota import UserQuota
from opslib.sandbox.identity.directory import Directory
from opslib.sandbox.identity.managed_identity import cloud_name
from opslib.sandbox.identity.tokens import Tokens
from opslib.sandbox.insights.alerts.alerter import Alerter
from opslib.sandbox.insights.autoscale.autoscaler import Autoscaler
from opslib.sandbox.instances.containers import Runtime
from opslib.sandbox.instances.environment import InstanceEnvironment
from opslib.sandbox.instances.fleet import Fleet
from opslib.sandbox.instances.local_commands import ImageMap
from opslib.sandbox.instances.logs import FleetLog
from opslib.sandbox.scoring.auth import ScoringAuth
from opslib.sandbox.scoring.gateway import Gateway
from opslib.sandbox.server.application import Application
from opslib.sandbox.server.connect_proxy import start_proxy
from opslib.sandbox.server.faults_api import strike
from opslib.sandbox.server.listener import Server, listen, make_server
from opslib.sandbox.server.pipeline import answer
from opslib.sandbox.server.sampler import Sampler
from opslib.sandbox.telemetry.telemetry import Telemetry
from opslib.sandbox.templates.deployments import TemplateDeployments

_FLUSH_INTERVAL_S = 0.2
_RESTORE_TIMEOUT_S = 60.0


def main() -> None:
    """Run the daemon with the settings that `up` passes on."""
    parser = argparse.ArgumentParser()
    parser.add_argument("home")
    parser.add_argument("port", type=int)
    parser.add_argument("settings")
    parser.add_argument("--owner", nargs=2, type=int, help="pid and start time of the process that it belongs to")
    arguments = parser.parse_args()
    home = Home(Path(arguments.home))
    owner = ProcessId(*arguments.owner) if arguments.owner else None
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = Settings(**json.loads(arguments.settings))
    gc.freeze()  # what was imported stays
    gc.enable()
    uvloop.run(serve(home, listen(home.root / "port", arguments.port), settings, owner))


async def serve(home: Home, listener: socket.socket, settings: Settings, owner: ProcessId | None) -> None:
    """Serve until SIGTERM or SIGINT, or until the folder or the owner is gone."""
    port = listener.getsockname()[1]
    azure = listen(home.root / "azure-port", 0)
    proxy_url = f"http://127.0.0.1:{azure.getsockname()[1]}"
    unwritten = asyncio.Event()
    sandbox = build(home, f"https://127.0.0.1:{port}", proxy_url, settings, unwritten)
    server = make_server(home, Application(sandbox))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.exit)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    chores = [
        asyncio.create_task(_flush(sandbox, unwritten)),
        asyncio.create_task(_end_abandoned(home, owner, server)),
        asyncio.create_task(_sampler(sandbox).run()),
        asyncio.create_task(Autoscaler(sandbox).run()),
        asyncio.create_task(Alerter(sandbox).run()),
    ]
    proxy = await start_proxy(port, azure)
    try:
        await _open(home, sandbox, server, proxy_url)
        await serving
    finally:
        proxy.close()
        home.note.unlink(missing_ok=True)
        for chore in chores:
            chore.cancel()
        await sandbox.templates.close()
        await sandbox.lifecycle.close()
        await sandbox.gateway.close()
        await sandbox.fleet.close()
        sandbox.faults.save()
        sandbox.telemetry.close()
        sandbox.store.close()


def build(
    home: Home, base_url: str, proxy_url: str, settings: Settings, unwritten: asyncio.Event | None = None
) -> Backend:
    """Wire one sandbox; `unwritten` is set while telemetry or faults wait to be written."""
    store, telemetry = Store(home.state / "state.db"), Telemetry(home.state / "telemetry.db", unwritten)
    directory = Directory(store)
    tokens = Tokens(ensure_signing_key(home.private / "tokens.pem"), "https://sts.sandbox.invalid/", directory.find)
    faults = Faults(store, unwritten)
    instance_environment = InstanceEnvironment(base_url, proxy_url, home.azure_authority, store)
    log = FleetLog(home.state / "logs", store, telemetry)
    fleet = Fleet(home.state, store, log, instance_environment, settings, Runtime(_images(settings)))
    telemetry.collect_from(fleet.read_consoles)
    sandbox = Backend(
        settings=settings,
        home=home,
        base_url=base_url,
        identity_header=home.identity_header(),
        store=store,
        directory=directory,
        tokens=tokens,
        telemetry=telemetry,
        fleet=fleet,
        lifecycle=Lifecycle(store, fleet, settings, Artifacts(store, log, faults, directory)),
        gateway=Gateway(
            store=store,
            fleet=fleet,
            telemetry=telemetry,
            auth=ScoringAuth(tokens, directory),
            settings=settings,
            faults=faults,
        ),
        faults=faults,
        read_lag=ReadLag(settings),
        graph_quota=UserQuota(),
        templates=TemplateDeployments(store, directory, tokens, base_url, settings.location),
    )
    sandbox.templates.connect(lambda request: answer(request, sandbox))
    return sandbox


def _images(settings: Settings) -> ImageMap:
    if not settings.image_map:
        return ImageMap()
    from opslib.sandbox.instances.image_map import read_image_map  # noqa: PLC0415 - only here: it imports pydantic

    return read_image_map(Path(settings.image_map))


def environment(home: Home, base_url: str) -> dict[str, str]:
    """Return the variables that point any unmodified SDK at this sandbox, and at nothing else.

    AZUREML_CURRENT_CLOUD is named because azure-ai-ml writes it into its own process and prefers it
    over the metadata URL; REGISTRY_DISCOVERY_ENDPOINT_URL because it would otherwise be composed of
    the cloud's name and a public domain (`azure/ai/ml/_azure_environments.py`).
    """
    return {
        "ARM_CLOUD_METADATA_URL": f"{base_url}/metadata/endpoints",
        "AZUREML_CURRENT_CLOUD": cloud_name(base_url),
        "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
        "IDENTITY_ENDPOINT": f"{base_url}/msi/token",
        "IDENTITY_HEADER": home.identity_header(),
        "NO_PROXY": "127.0.0.1,localhost",
        "REGISTRY_DISCOVERY_ENDPOINT_URL": f"{base_url}/",
        "REQUESTS_CA_BUNDLE": str(home.authority),
        "SSL_CERT_FILE": str(home.authority),
    }


def azure_environment(home: Home, base_url: str, proxy_url: str) -> dict[str, str]:
    """Return the variables for a program with hard-coded Azure host names."""
    trusted = ("CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
    return {
        "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
        "HTTPS_PROXY": proxy_url,
        "IDENTITY_ENDPOINT": f"{base_url}/msi/token",
        "IDENTITY_HEADER": home.identity_header(),
        "NO_PROXY": "127.0.0.1,localhost",
        **dict.fromkeys(trusted, str(home.azure_authority)),
    }


async def _open(home: Home, sandbox: Backend, server: Server, proxy_url: str) -> None:
    """Restore what was served before, then publish the note: from now on requests are answered."""
    while not server.started:  # noqa: ASYNC110 - uvicorn offers no event
        await asyncio.sleep(0.005)
    await asyncio.wait({asyncio.create_task(sandbox.lifecycle.recover())}, timeout=_RESTORE_TIMEOUT_S)
    sandbox.templates.recover()
    strike(sandbox.faults.listed(), sandbox)
    settings = sandbox.settings
    workspace = {
        "subscription_id": settings.subscription_id,
        "resource_group": settings.resource_group,
        "workspace_name": settings.workspace_name,
    }
    home.config.write_text(json.dumps(workspace, indent=2) + "\n", encoding="utf-8")
    identity = ProcessId.of(os.getpid())
    note: dict[str, Any] = {
        "pid": os.getpid(),
        "pid_started_ticks": identity.started_ticks if identity is not None else 0,
        "url": sandbox.base_url,
        "started_at": iso_now(),
        "environment": environment(home, sandbox.base_url),
        "azure_environment": azure_environment(home, sandbox.base_url, proxy_url),
        "workspace": {**workspace, "location": settings.location},
    }
    home.write_note(note)


def _sampler(sandbox: Backend) -> Sampler:
    gateway = sandbox.gateway
    return Sampler(sandbox.home.state, sandbox.fleet, sandbox.store, sandbox.telemetry, gateway.connections)


async def _flush(sandbox: Backend, unwritten: asyncio.Event) -> None:
    """Write telemetry and faults in batches; an idle sandbox does not wake up for it."""
    while True:
        await unwritten.wait()
        await asyncio.sleep(_FLUSH_INTERVAL_S)
        unwritten.clear()
        sandbox.telemetry.flush()
        sandbox.faults.save()


async def _end_abandoned(home: Home, owner: ProcessId | None, server: Server) -> None:
    """End the sandbox once its folder was deleted, or its owner has ended: nothing would stop it afterwards."""
    while home.root.exists() and (owner is None or owner.alive()):  # noqa: ASYNC110 - neither sends an event
        await asyncio.sleep(1.0)
    server.exit()


def wipe(home: Home) -> None:
    """Delete all state; the authority and the keys stay, so that clients need no new CA file."""
    shutil.rmtree(home.state, ignore_errors=True)
    for name in (home.note, home.config, home.log, home.root / "port", home.root / "azure-port"):
        name.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
