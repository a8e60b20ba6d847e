"""Where the sandbox differs from Azure: what a reader of a green run must know. Printed into SUPPORT.md."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """One thing that is not as in Azure."""

    what: str
    azure: str
    sandbox: str


DIFFERENCES = (
    Difference(
        "environment",
        "builds an image",
        "runs the Python it is installed in; each unmet requirement is said in the StorageInitializer log",
    ),
    Difference(
        "instance",
        "a VM",
        "a process group of `azureml-inference-server-http`; CPU is a share of its cores, at most the size's",
    ),
    Difference(
        "probes",
        "first asked after `initialDelay`",
        "readiness is polled at once; an instance counts as dead when its process ends; liveness is not polled",
    ),
    Difference(
        "update in place",
        "20 % of the nodes at a time",
        "all new instances beside the old ones, then one switch; the old ones finish what they hold",
    ),
    Difference(
        "durations",
        "minutes",
        "about a second for a deployment; `--operation-s` sets a least duration",
    ),
    Difference(
        "failed update",
        "not documented",
        "the version before goes on serving, also after a restart",
    ),
    Difference(
        "after a crash",
        "not visible",
        "operations that were cut short are run again to their end",
    ),
    Difference(
        "traffic to an instance that died",
        "not documented",
        "424 `model_not_ready` for the request it held; 503 while no instance is ready",
    ),
    Difference(
        "words of refusals",
        "documented for few",
        "Azure's where a source has them, else our own in Azure's envelope",
    ),
    Difference(
        "a new version of an asset under an old number",
        "refused",
        "refused with 409; the code is our choice",
    ),
    Difference(
        "writes while a deployment is in transition",
        "the endpoint's other deployments: not documented",
        "allowed; the deployment itself and its endpoint's deletion are refused with 409",
    ),
    Difference(
        "mirrored requests",
        "counted against bandwidth",
        "also in the request log and metrics, under the mirror's name",
    ),
    Difference(
        "`azureml-model-deployment` in answers",
        "not documented",
        "always there when a deployment answered",
    ),
    Difference(
        "metrics",
        "`RequestsPerMinute` over several nodes: not documented",
        "the exact count of the minute",
    ),
    Difference(
        "connections, GPU, data collection",
        "measured",
        "offered, and without data",
    ),
    Difference(
        "limits of requests and bandwidth",
        "500 RPS, 5 MBPS",
        "not enforced; the limits of counts, names, sizes, time are",
    ),
    Difference(
        "no-code and custom containers, Kubernetes, registries, autoscale",
        "yes",
        "501",
    ),
    Difference(
        "access",
        "roles",
        "one principal with the rights of Owner",
    ),
)
