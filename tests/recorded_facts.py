"""Facts that were read from the sandbox, one file for each fault, and the conclusion that is right for each."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from opslib.diagnosis.facts import Facts

RECORDED = Path(__file__).parent / "unit/diagnosis/recorded"


@dataclass(frozen=True)
class Case:
    """A recorded failure; `cause` is "" where nothing is wrong."""

    name: str
    cause: str = ""
    certainty: str = ""
    seen: str = ""


CASES = (
    Case("healthy"),
    Case("idle"),
    Case("no_traffic", "no-traffic", "certain", "404"),
    Case("bad_image", "image-missing", "certain", "manifest unknown"),
    Case("image_build", "image-build", "certain", "ResolvePackageNotFound"),
    Case("no_model_permission", "model-access", "certain", "AuthorizationPermissionMismatch"),
    Case("script_missing", "script-missing", "certain", "scoring.py"),
    Case("script_syntax", "script-syntax", "certain", "score.py, line 4"),
    Case("script_init", "script-init", "certain", "no such feature: haste"),
    Case("missing_file", "file-missing", "certain", "fraud.pkl"),
    Case("missing_package", "package-missing", "certain", "xgboost_of_the_claims"),
    Case("no_run", "script-function", "certain", "does not have a run() function"),
    Case("out_of_quota", "quota", "certain", "of 100 cores"),
    Case("slow_start", "slow-start", "likely", "LivenessProbeFailed"),
    Case("service_failure", "service", "likely", "provisioningState Failed"),
    Case("out_of_memory", "out-of-memory", "likely", "OOMKilled"),
    Case("dead_instance", "instances-dead", "likely", "503"),
    Case("hung_instance", "instances-dead", "likely", "LivenessProbeFailed"),
    Case("user_error", "user-code", "certain", "tested a rare request (score.py, line 13)"),
    Case("model_error", "model-status", "likely", "8 of 8 requests were answered 424"),
    Case("concurrency", "overload", "certain", "limit 2 pending"),
    Case("timeout", "timeout", "certain", "requestTimeout PT1S"),
    Case("wrong_key", "credential", "likely", "6 of 6 requests were answered 401"),
    Case("regenerated_key", "keys-regenerated", "likely", "regenerateKeys by"),
    Case("key_for_aad", "credential", "likely", "401"),
    Case("wrong_deployment", "wrong-deployment", "likely", "no_such_deployment"),
)


@cache
def read_case(name: str) -> Facts:
    """Return what was read from the sandbox under one fault."""
    return TypeAdapter(Facts).validate_json((RECORDED / f"{name}.json").read_bytes())
