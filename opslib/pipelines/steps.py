"""The shell of each step of a release; every system of pipelines runs the same text.

The steps read variables: TARGET, DEPLOYMENT (to release), RETIRE (to delete afterwards, or none), REASON, TICKET,
REQUESTER, and ARCHIVE_URL (blob container of published runs, or none). None of them is put into the text itself,
so that a value is never run as a command.
"""

import shlex
from collections.abc import Mapping

from opslib.pipelines.release import Release

GATES = {
    0: "open: all traffic is on the new deployment",
    1: "closed: failed; the change is undone",
    2: "closed: refused; nothing was changed",
    3: "closed: rolled back; the traffic is as before",
    4: "closed: undecided; the traffic is as before",
    5: "closed: aborted; the change is undone",
    6: "waiting: approve the plan as the reason describes, then run this step again",
}
"""What the exit code of the canary means for the steps after it. Source: exit codes of `opslib run`."""

RUN_LIMIT_S = 19_800
"""Limit of a canary run [seconds]: half an hour less than the six hours after which GitHub ends a job."""


def release_steps(release: Release) -> Mapping[str, str]:
    """Return the steps of a release in order, by name: check, deploy, validate, plan, canary, retire, publish."""
    policy = f"{release.folder}/policy.yml"
    scope = f'-p target="$TARGET" -p endpoint={release.endpoint} -p policy={policy}'
    probes = f" -p {shlex.quote(f'probes={release.folder}/{release.probes}')}" if release.probes else ""
    about = '-p reason="$REASON" --ticket "$TICKET" --requester "$REQUESTER"'
    canary = f'opslib run canary {scope} \\\n  -p canary="$DEPLOYMENT"{probes} \\\n  {about}'
    steps = {
        "check": _check(release.folder),
        "deploy": f'opslib run deploy {scope} \\\n  -p definition="{release.folder}/$DEPLOYMENT.yml"{probes} \\\n'
        f"  {about} --timeout-s 7200",
        "validate": f'opslib run validate {scope} \\\n  -p deployment="$DEPLOYMENT" \\\n  {about}',
        "plan": f"{canary} -p dry_run=true",
        "canary": f"mkdir -p approvals\ncode=0\n{canary} \\\n  --approval approvals --timeout-s {RUN_LIMIT_S} "
        f"|| code=$?\n{_gates()}",
        "retire": f'if [ "${{RETIRE:-none}}" != none ]; then\n  opslib run retire {scope} \\\n'
        f'    -p deployment="$RETIRE" \\\n    {about}\nfi',
        "publish": 'if [ "${ARCHIVE_URL:-none}" != none ]; then\n  opslib publish --to "$ARCHIVE_URL"\nfi',
    }
    return {name: text for name, text in steps.items() if name != "validate" or release.validated}


def watch_steps(release: Release) -> Mapping[str, str]:
    """Return the scheduled steps: the sweep of expired leases, and the drift check."""
    sweep = f'opslib recover --target "$TARGET" --endpoint {release.endpoint}'
    drift = f'opslib drift {release.folder} --target "$TARGET" --fix --output reports/drift.json'
    return {"sweep": sweep, "drift": f"mkdir -p reports\n{drift}"}


def _check(folder: str) -> str:
    reports = (
        f"opslib check {folder} --format {form} --output reports/check.{ending} || true"
        for form, ending in (("sarif", "sarif"), ("junit", "xml"))
    )
    return "\n".join(("mkdir -p reports", *reports, f"opslib check {folder}"))


def _gates() -> str:
    cases = "\n".join(f'  {code}) echo "gate {gate}" ;;' for code, gate in GATES.items())
    return f'case "$code" in\n{cases}\n  *) echo "gate closed: exit code $code" ;;\nesac\nexit "$code"'
