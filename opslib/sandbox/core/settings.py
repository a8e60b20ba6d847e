"""The settings of a sandbox, and the limits that Azure publishes."""

from dataclasses import dataclass, field
from typing import TypeVar

_T = TypeVar("_T")


def described(default: _T, description: str) -> _T:
    """Return a dataclass field with a description, which the command line shows."""
    return field(default=default, metadata={"description": description})


@dataclass(frozen=True)
class Settings:
    """What can be chosen when a sandbox is started. Any other subscription, group and workspace is served too."""

    subscription_id: str = described(
        "00000000-0000-4000-8000-000000000001", "subscription of the workspace in config.json"
    )
    resource_group: str = described("sandbox", "resource group of the workspace in config.json")
    workspace_name: str = described("sandbox", "name of the workspace in config.json")
    location: str = described("eastus", "region of the workspace")
    operation_s: float = described(
        0.1, "least duration of a long-running operation, so that transitional states can be seen [s]"
    )
    metrics_delay_s: float = described(0.0, "time until a minute's metrics can be read; minutes on Azure [s]")
    logs_delay_s: float = described(0.0, "time until a log row can be queried; minutes on Azure [s]")
    token_lifetime_s: float = described(3600.0, "validity of managed-identity tokens [s]")
    scoring_token_lifetime_s: float = described(
        86_400.0, "validity of scoring tokens of aml_token endpoints; half of it later they should be renewed [s]"
    )
    poll_after_ms: int = described(
        100, "retry-after-ms on polls of operations, so that clients poll often; 0: no header, as Azure [ms]"
    )
    startup_timeout_s: float = described(
        120.0, "longest wait for an instance's first readiness answer, whatever its probes allow [s]"
    )
    autoscale_every_s: float = described(15.0, "interval at which autoscale settings are evaluated [s]")
    alerts_every_s: float = described(
        0.0, "interval at which metric alerts are evaluated; 0: each at its own evaluationFrequency [s]"
    )
    quota_cores: int = described(100, "quota of each VM family in each region [vCPU]")
    image_map: str = described(
        "", "YAML file of container images and the local commands that run in their place; see the sandbox's README"
    )
    seed: int | None = described(None, "seed of the traffic split; none: another split in each run")
    max_requests_per_second: int = described(
        500, "limit of each endpoint over all its deployments; more are answered 429 [1/s]"
    )
    max_connections: int = described(500, "open connections of each endpoint; more are answered 429")
    max_new_connections_per_second: int = described(
        500, "new connections of each endpoint; more are answered 429 [1/s]"
    )
    max_bytes_per_second: int = described(
        5_000_000, "bandwidth of each endpoint, requests and answers together; more is delayed [bytes/s]"
    )
    consistency_lag_s: float = described(
        0.0, "how long after a write reads still show an endpoint's earlier traffic [s]"
    )
    max_payload_bytes: int = described(
        16 * 1024 * 1024, "largest scoring request; a larger one is answered 413 [bytes]"
    )

    def __post_init__(self) -> None:
        """Refuse a setting that leaves nothing to serve.

        Raises
        ------
        ValueError
            If a limit is below one, the autoscale interval below 0.05 s, or a time negative.
        """
        for name, value in vars(self).items():
            least = 1 if name.startswith("max_") else 0.05 if name == "autoscale_every_s" else 0
            if isinstance(value, int | float) and name != "seed" and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")


@dataclass(frozen=True)
class Limits:
    """Azure ML's limits for managed online endpoints.

    Source: MicrosoftDocs, how-to-manage-quotas.md and reference-yaml-deployment-managed-online.md (2026-01).
    """

    endpoints_per_region: int = 100
    deployments_per_region: int = 500
    deployments_per_endpoint: int = 20
    instances_per_deployment: int = 50
    request_timeout_s: float = 180.0
    mirror_percent: int = 50
    name_min: int = 3
    name_max: int = 32


LIMITS = Limits()

# Retention: every table and log of a sandbox is bounded.
KEEP_REQUESTS = 2_000_000
KEEP_CONSOLE_LINES = 200_000
KEEP_EVENTS = 50_000
KEEP_SAMPLES = 200_000
KEEP_ACTIVITY = 20_000
KEEP_OPERATIONS = 2_000
KEEP_ALERTS = 1_000
MAX_ARM_BODY = 4 * 1024 * 1024
MAX_BLOB_BODY = 256 * 1024 * 1024
