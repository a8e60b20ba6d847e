"""A local Azure ML: managed online endpoints over Azure's own protocol, on loopback.

It is to online endpoints what Azurite is to Azure Storage: any unmodified program that uses the Azure
SDKs runs against it with nothing but environment variables set. Route -> handler -> store: `routes` is
the table, `server` the pipeline, `store` the only state, `lifecycle` the only state machine, `scoring`
the data plane, `instances` the processes that run each deployment's real scoring code.

This package imports nothing from the rest of opslib, and is started as a package of its own.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opslib.sandbox.cli.control import SandboxError
    from opslib.sandbox.testing.running import RunningSandbox
    from opslib.sandbox.testing.sandbox import Sandbox

__all__ = ["RunningSandbox", "Sandbox", "SandboxError"]


def __getattr__(name: str) -> Any:
    """Load a public name on first use: the server imports this package too."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers: {', '.join(__all__)}")
    from opslib.sandbox.cli.control import SandboxError  # noqa: PLC0415
    from opslib.sandbox.testing.running import RunningSandbox  # noqa: PLC0415
    from opslib.sandbox.testing.sandbox import Sandbox  # noqa: PLC0415

    return {"RunningSandbox": RunningSandbox, "Sandbox": Sandbox, "SandboxError": SandboxError}[name]
