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
        "runs the Python it is installed in; each unmet requirement is written to the StorageInitializer log",
    ),
    Difference(
        "instance",
        "a VM",
        "a process group of `azureml-inference-server-http`; CPU is a share of its cores, at most the size's",
    ),
    Difference(
        "probes",
        "an instance is ready when its probes succeed; the first is sent after initialDelay",
        "at start readiness is polled at once, for as long as the probe settings allow; then by the settings",
    ),
    Difference(
        "update in place",
        "20 % of the nodes at a time",
        "20 % of the instances, at least one, on top of the old; after a failure back to the earlier version",
    ),
    Difference(
        "an instance that dies or fails its liveness probe",
        "its container is restarted in it, under its id; a lost node comes back under another",
        "always restarted under its id, with its log: there are no nodes to lose",
    ),
    Difference(
        "durations",
        "minutes",
        "about a second for a deployment; `--operation-s` sets a least duration",
    ),
    Difference(
        "polling of operations",
        "no Retry-After and no retry-after-ms: its clients poll every 5 or 30 s",
        "`retry-after-ms: 100` on polls, so that its clients end in tenths of a second; `--poll-after-ms 0`: none",
    ),
    Difference(
        "addresses of operations",
        "signed from 2024 on, under 2022-02-01-preview in 2025 too; the signature ends after some time",
        "under 2022-02-01-preview unsigned, as in 2022; else as long, only their wholeness is checked, with 400",
    ),
    Difference(
        "reads while an endpoint or a deployment is changed",
        "not recorded",
        "the new values at once, in state Updating or Scaling; of a new endpoint both addresses are null",
    ),
    Difference(
        "a PUT on an endpoint that has traffic, from 2024-04-01 on",
        "recorded for an endpoint without traffic: state Creating, no location, no identity, addresses null",
        "the same, with the traffic as it was before; under 2022-02-01-preview the whole body, in state Updating",
    ),
    Difference(
        "scoringUri, swaggerUri",
        "https://{endpoint}.{location}.inference.ml.azure.com/score",
        "on this machine: {url}/inference/{location}/{endpoint}/score",
    ),
    Difference(
        "workspaceblobstore",
        "an account key, or an identity",
        "under Azure's own names an account key; else a signature: a loopback address has no account's name in it",
    ),
    Difference(
        "other datastores",
        "in any account",
        "kept and shown; assets are read from the workspace's own ones, which are one container",
    ),
    Difference(
        "fixedDate of an autoscale profile, in answers",
        "start and end turned into UTC",
        "the clock of the zone as it was sent, ending in Z: sent back it means the same",
    ),
    Difference(
        "requests left (x-ms-ratelimit-remaining-...)",
        "fall with each request",
        "always those of a caller who has sent none; a declared fault throttles",
    ),
    Difference(
        "bodies",
        "JSON indented by two; Azure Monitor's compact",
        "compact",
    ),
    Difference(
        "failed update",
        "not documented",
        "the earlier version continues to serve, also after a restart",
    ),
    Difference(
        "after a crash",
        "not visible",
        "interrupted operations are run again to their end",
    ),
    Difference(
        "traffic to an instance that died",
        "not documented",
        "424 `model_not_ready` for the request it held; 503 while no instance is ready",
    ),
    Difference(
        "messages of refusals",
        "documented for few",
        "Azure's where a source has them, else the sandbox's own in Azure's envelope",
    ),
    Difference(
        "a new version of an asset under an old number",
        "refused",
        "refused with 409; the error code is a choice of the sandbox",
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
        "metrics",
        "`RequestsPerMinute` over several nodes: not documented",
        "the exact count of the minute",
    ),
    Difference(
        "GPU, data collection",
        "measured",
        "offered, and without data",
    ),
    Difference(
        "limits of requests and connections",
        "500 RPS, 500 connections, 500 new ones per second; how it counts is not documented",
        "counted per second of the clock; a request on a connection above the limit is answered 429",
    ),
    Difference(
        "limit of bandwidth",
        "5 MBPS; delays, recorded in the log and in response trailers",
        "5 000 000 bytes per second and one second's worth at once; recorded in the log and in headers",
    ),
    Difference(
        "Kubernetes online deployments",
        "on a cluster of the user's",
        "501 with the reason: managed ones only",
    ),
    Difference(
        "custom containers, Triton models",
        "run the image",
        "run by podman or docker where one answers, without the endpoint's identity; else by the local command "
        "that `--image-map` declares for the image; else 501 with the reason",
    ),
    Difference(
        "deployments with code whose environment has an inference_config",
        "run the image",
        "run in the sandbox's own Python, unless the image map declares a command",
    ),
    Difference(
        "an endpoint's address with a custom container",
        "scoringUri becomes the scoring route; what else of the container is reached is not documented",
        "the same, and /score is the scoring route too; any other path is passed on to its port",
    ),
    Difference(
        "registries",
        "created in minutes; Microsoft's and partners' models",
        "one's own, at once, under the sandbox's own address only; content of Microsoft's and partners' is 501 "
        "with the reason",
    ),
    Difference(
        "curated environments",
        "images of Microsoft's",
        "a catalogue of names, in any version; the sandbox's own Python runs, and a start fails with "
        "ImageBuildFailure where it lacks a package that the name promises",
    ),
    Difference(
        "model packages",
        "an image is built",
        "the environment keeps model, code and variables, and is there at once",
    ),
    Difference(
        "workspaces",
        "created by an ARM template, in minutes; a deleted one can be recovered",
        "each one exists until it is deleted; PUT, PATCH and templates change it at once",
    ),
    Difference(
        "template deployments",
        "every resource type and function; Complete mode, what-if, linked templates, stacks",
        "Incremental mode, the resource types and functions that the sandbox has, nested templates; uniqueString "
        "gives other characters than Azure's",
    ),
    Difference(
        "key vaults, image registries, Application Insights, Log Analytics workspaces",
        "services of their own",
        "kept as they are sent, so that templates and workspaces can name them",
    ),
    Difference(
        "autoscale",
        "every 30 to 60 s; predictive, notifications",
        "every --autoscale-every-s; neither. Any rule scales out, all rules scale in",
    ),
    Difference(
        "autoscale profiles",
        "a recurring profile holds until the next one begins; beside a plain default: contradictory",
        "it holds until the next recurring one begins: the plain default then never does",
    ),
    Difference(
        "autoscale in the activity log",
        "an attempt and its result, by Microsoft.Insights/autoscaleSettings",
        "the same; a refusal by quota is recorded once, until another count is wanted",
    ),
    Difference(
        "metric alerts",
        "also dynamic thresholds, several scopes, logs, web tests; action groups notify",
        "static thresholds on one endpoint or deployment; action groups are stored and send nothing",
    ),
    Difference(
        "metric alerts that measured nothing",
        "not documented",
        "stay as they are; so do those of a rule that is deleted",
    ),
    Difference(
        "metric alerts in the activity log",
        "documented for classic alerts: Microsoft.Insights/AlertRules/Activated and Resolved",
        "the same, with RuleUri naming the metric alert",
    ),
    Difference(
        "Azure Resource Graph",
        "every resource, seconds to minutes late; the whole query language, 15 queries in 5 s",
        "what the sandbox keeps, at once; the operators of Log Analytics, 15 queries in 5 s",
    ),
    Difference(
        "subscriptions, groups and workspaces",
        "exist when they have been created; a workspace takes about a minute",
        "any name is served; lists show those in use and those created, which is done at once",
    ),
    Difference(
        "retail prices",
        "every region and currency, as of today",
        "USD in eastus from a table of early 2025; Spot and Windows by rules of thumb; elsewhere no items",
    ),
    Difference(
        "MLflow models without code",
        "served by MLflow in an image of their own",
        "by MLflow if the sandbox's Python has it; else scikit-learn models only, loaded by themselves",
    ),
    Difference(
        "eventual consistency",
        "not documented; reported of an endpoint's traffic",
        "none, or of traffic and mirror by --consistency-lag-s",
    ),
    Difference(
        "egress disabled",
        "the instance's network has no way out",
        "proxy variables name an unreachable proxy; a program that ignores them is not stopped",
    ),
    Difference(
        "access",
        "assignments take up to an hour to take effect; deny assignments, conditions, groups, PIM approval",
        "assignments hold at once and end to the second; roles, custom ones too, decide every action; no more",
    ),
    Difference(
        "scoring without onlineEndpoints/score/action",
        "401 by the table of statuses",
        "401",
    ),
    Difference(
        "blob storage, managed identity's own rights",
        "an endpoint's identity needs AcrPull and Storage Blob Data Reader",
        "assignments are not checked when an instance starts; a token reads blobs only with a role on data",
    ),
    Difference(
        "storage accounts",
        "many services, firewalls, replication",
        "blobs of block type, by signature, key or token; only under Azure's names; nothing else",
    ),
    Difference(
        "Azure's own host names",
        "public DNS",
        "ARM, Entra ID, blobs, Log Analytics and prices, through a proxy that connects to nothing else (501)",
    ),
    Difference(
        "anonymous assets",
        "sent again under another address: accepted by the SDK's own tests",
        "accepted; the last address counts",
    ),
    Difference(
        "tenants",
        "one's own",
        "one tenant, also called common, organizations and adfs",
    ),
)
