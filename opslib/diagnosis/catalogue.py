"""Every cause that a diagnosis can name, and what to do about it. `{e}`, `{d}` and `{w}` are names in the commands.

Sources: Microsoft Learn, "Troubleshooting online endpoints deployment and scoring" (codes and their causes), and
"Authentication and authorization for online endpoints".
"""

from collections.abc import Mapping
from dataclasses import dataclass

_LOGS = "az ml online-deployment get-logs -e {e} -n {d} --lines 1000"
_SHOW = "az ml online-deployment show -e {e} -n {d} -o json"
_REDEPLOY = "Deploy again, and delete the failed deployment: it bills until then."


@dataclass(frozen=True)
class NextAction:
    """What to type next, and what to do then."""

    command: str
    advice: str


CATALOGUE: Mapping[str, NextAction] = {
    "image-missing": NextAction(
        _SHOW + " --query environmentId",
        f"Correct the image's name or tag in the environment, and register it as a new version. {_REDEPLOY}",
    ),
    "image-access": NextAction(
        "az role assignment create --assignee {principal} --role AcrPull --scope {scope}",
        f"Wait until the role has effect (minutes). {_REDEPLOY}",
    ),
    "image-build": NextAction(
        _SHOW + " --query environmentId",
        f"Read the build's log in the environment's page, correct its conda file or Dockerfile. {_REDEPLOY}",
    ),
    "model-access": NextAction(
        "az role assignment create --assignee {principal} --role 'Storage Blob Data Reader' --scope {scope}",
        f"Wait until the role has effect (minutes). {_REDEPLOY}",
    ),
    "script-missing": NextAction(
        "opslib check", f"Correct scoring_script or the code's folder in deployment.yml. {_REDEPLOY}"
    ),
    "script-syntax": NextAction("python -m py_compile score.py", f"Correct the line. {_REDEPLOY}"),
    "script-function": NextAction(
        "python -m py_compile score.py", f"Define init() and run() in the scoring script. {_REDEPLOY}"
    ),
    "package-missing": NextAction(
        _SHOW + " --query environmentId", f"Add the package to the environment's conda file. {_REDEPLOY}"
    ),
    "file-missing": NextAction(
        _LOGS,
        f"Compare the path with the files that the log lists below AZUREML_MODEL_DIR, and correct it. {_REDEPLOY}",
    ),
    "script-init": NextAction(
        _LOGS, f"Reproduce it with azmlinfsrv --entry_script score.py, and correct the script. {_REDEPLOY}"
    ),
    "slow-start": NextAction(
        _SHOW + " --query '[liveness_probe, readiness_probe]'",
        "Give the start more time: raise initial_delay and failure_threshold of both probes in deployment.yml (or "
        f"set a startup_probe), or load less in init(). {_REDEPLOY}",
    ),
    "start-unknown": NextAction(_LOGS, "Search the container's log for the first error. " + _REDEPLOY),
    "out-of-memory": NextAction(
        "opslib cost {e}",
        "Deploy with an instance type of more memory, or fewer workers (WORKER_COUNT), and move traffic to it.",
    ),
    "quota": NextAction(
        "az ml compute list-usage -o table",
        "Delete deployments that take no traffic, deploy fewer instances or another family, or request quota.",
    ),
    "region-capacity": NextAction(_SHOW, "Try again later, or with another instance type or region."),
    "secrets": NextAction(
        "opslib review {e}", "Grant the endpoint's identity reading of the secret, and correct its reference."
    ),
    "network-not-ready": NextAction(
        "az ml workspace provision-network -n {w}", "Provision the workspace's managed network, then deploy again."
    ),
    "canceled": NextAction(
        "az ml online-endpoint show -n {e}", "Another operation had priority. Wait for it, then deploy again."
    ),
    "conflict": NextAction(
        "opslib status {e} --watch", "Wait until the running operation has ended, then send the change again."
    ),
    "caller-forbidden": NextAction(
        "az role assignment list --assignee {caller} --all -o table",
        "Grant the caller the action: AzureML Data Scientist on the workspace has it.",
    ),
    "sign-in": NextAction(
        "az login",
        "Sign in, or set the variables of a service principal or managed identity; then send the change again.",
    ),
    "refused": NextAction("opslib check", "Correct what the message names, then send the change again."),
    "service": NextAction(
        _SHOW, "Try once more. If it fails again, open a support request with the operation's id and the time."
    ),
    "operation-failed": NextAction(_LOGS, "Read the error's layers below; correct what the innermost one names."),
    "in-progress": NextAction("opslib status {e} --watch", "Wait for the operation's end."),
    "no-deployment": NextAction(
        "opslib run deploy -p endpoint={e}", "The endpoint has no deployment: deploy one, then give it traffic."
    ),
    "no-traffic": NextAction(
        "az ml online-endpoint update -n {e} --traffic {d}=100",
        "Requests without the header azureml-model-deployment are answered 404 until a deployment has traffic.",
    ),
    "wrong-deployment": NextAction(
        "az ml online-deployment list -e {e} --query '[].name'",
        "Correct the name in the clients' header azureml-model-deployment, or remove the header.",
    ),
    "keys-regenerated": NextAction(
        "az ml online-endpoint get-credentials -n {e}",
        "Give the clients the new key; find who regenerated it in the evidence.",
    ),
    "credential": NextAction(
        "az ml online-endpoint show -n {e} --query auth_mode",
        "Give the clients a credential of this mode: {credential}.",
    ),
    "user-code": NextAction(
        _LOGS,
        "Send the request that fails to the scoring script locally (azmlinfsrv), and correct it. If another "
        "version answers, return the traffic now: opslib run rollback -p endpoint={e}",
    ),
    "timeout": NextAction(
        _SHOW + " --query request_settings",
        "Raise request_timeout_ms (at most 180,000) if the model needs the time; else scale out, or load less.",
    ),
    "overload": NextAction(
        "opslib run scale -p endpoint={e} -p deployment={d} -p instances={more}",
        "The limit is 2 x max_concurrent_requests_per_instance x instances: raise the instances, or the "
        "concurrency if the script serves more than that many at once.",
    ),
    "rate-limit": NextAction(
        "opslib status {e}",
        "The endpoint's own limits were exceeded (500 requests/s, 500 connections): spread the load, have clients "
        "retry with a growing delay, or request a higher limit.",
    ),
    "instances-dead": NextAction(
        _LOGS,
        "Find in the log why the container ended. If another version answers, return the traffic: "
        "opslib run rollback -p endpoint={e}",
    ),
    "model-status": NextAction(
        _LOGS,
        "The container itself answers this status: find it in its log. If another version answers, return the "
        "traffic: opslib run rollback -p endpoint={e}",
    ),
    "payload": NextAction("opslib status {e}", "Send smaller requests, or the data by reference."),
    "service-answers": NextAction(
        "opslib status {e} --watch", "If it lasts, open a support request with request ids of the request log."
    ),
    "probe-answers": NextAction(
        "opslib run validate -p endpoint={e} -p deployment={d}",
        "The deployment answers, but not as the probes expect: compare the model's version with the probes.",
    ),
    "certificate": NextAction(
        "openssl s_client -connect {host} -showcerts",
        "Azure renews its own certificates. One of another issuer is a proxy's: trust its authority, or avoid it.",
    ),
    "network": NextAction(
        "az ml online-endpoint show -n {e} --query public_network_access",
        "Reach it through the workspace's private endpoint, or check this machine's name resolution and proxy.",
    ),
    "identity-roles": NextAction(
        "{fix}", "Nothing fails yet: the next start or replacement of an instance does, without the role."
    ),
}
"""The next action for each cause, by id."""


def find_action(cause: str, **names: object) -> NextAction:
    """Return the next action of a cause, with names put in.

    Examples
    --------
    >>> find_action("conflict", e="fraud").command
    'opslib status fraud --watch'
    """
    entry = CATALOGUE[cause]
    values = {"e": "ENDPOINT", "d": "DEPLOYMENT", "w": "WORKSPACE"} | {
        name: str(one) for name, one in names.items()
    }
    return NextAction(_filled(entry.command, values), _filled(entry.advice, values))


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text
