"""The knobs of a sandbox, and the limits that Azure publishes, in one table each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """What can be chosen when a sandbox is started; the defaults need no thought.

    Attributes
    ----------
    subscription_id, resource_group, workspace_name, location
        The workspace that `config.json` names. Any other name is served too: workspaces exist because
        they are asked for.
    operation_s
        Least duration of a long-running operation, so that transitional states can be seen [s].
    metrics_delay_s, logs_delay_s
        Time until a minute's metrics, or a log row, can be read; on Azure it is minutes [s].
    token_lifetime_s
        Validity of managed-identity tokens, and of an AMLToken endpoint's [s].
    startup_timeout_s
        Time given to an instance to answer its readiness probe at all, whatever its probe settings say [s].
    autoscale_every_s
        Pace at which autoscale settings are evaluated [s].
    alerts_every_s
        Pace at which metric alerts are evaluated; 0: each at its own evaluationFrequency [s].
    quota_cores
        Limit of each VM family in each region [vCPU].
    seed
        Seed of the traffic split; None for a different split in each run.
    max_requests_per_second
        Limit of each endpoint, all its deployments together [1/s].
    max_connections, max_new_connections_per_second
        Limits of each endpoint [count; 1/s].
    max_bytes_per_second
        Limit of each endpoint, requests and answers together; more waits [bytes/s].
    consistency_lag_s
        For how long after a write reads still show an endpoint's traffic as it was [s].
    max_payload_bytes
        Largest scoring request that is accepted [bytes].
    """

    subscription_id: str = "00000000-0000-4000-8000-000000000001"
    resource_group: str = "sandbox"
    workspace_name: str = "sandbox"
    location: str = "eastus"
    operation_s: float = 0.1
    metrics_delay_s: float = 0.0
    logs_delay_s: float = 0.0
    token_lifetime_s: float = 3600.0
    startup_timeout_s: float = 120.0
    autoscale_every_s: float = 15.0
    alerts_every_s: float = 0.0
    quota_cores: int = 100
    seed: int | None = None
    max_requests_per_second: int = 500
    max_connections: int = 500
    max_new_connections_per_second: int = 500
    max_bytes_per_second: int = 5_000_000
    consistency_lag_s: float = 0.0
    max_payload_bytes: int = 16 * 1024 * 1024

    def __post_init__(self) -> None:
        """Refuse what nothing could be served with.

        Raises
        ------
        ValueError
            If a limit is below one, a pace is none, or a time is negative.
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

# Retention: nothing in a sandbox grows without end.
KEEP_REQUESTS = 2_000_000
KEEP_CONSOLE_LINES = 200_000
KEEP_EVENTS = 50_000
KEEP_SAMPLES = 200_000
KEEP_ACTIVITY = 20_000
KEEP_OPERATIONS = 2_000
KEEP_ALERTS = 1_000
MAX_ARM_BODY = 4 * 1024 * 1024
MAX_BLOB_BODY = 256 * 1024 * 1024
