"""Who may read and write blobs: a container's signature, an account's key, or a token and a role.

Source: Microsoft Learn, "Authorize with Shared Key" (Blob service, 2009-09-19 and later) and "Authorize access to
blobs using Microsoft Entra ID".
"""

import base64
import hashlib
import hmac
from urllib.parse import urlencode

from opslib.sandbox.arm.http_messages import Request
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.core import ids
from opslib.sandbox.core.context import Backend
from opslib.sandbox.identity.tokens import STORAGE_AUDIENCES, TokenRefused
from opslib.sandbox.storage.accounts import HOME_ACCOUNT, account_named, home_keys
from opslib.sandbox.storage.datastores import check_sas

_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
_VERBS = {"GET": "read", "HEAD": "read", "DELETE": "delete"}
_SIGNED = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


_FAILED_MESSAGE = (
    "Server failed to authenticate the request. Make sure the value of Authorization header is formed "
    "correctly including the signature."
)
_FAILED = ("AuthenticationFailed", _FAILED_MESSAGE)
_NO_ROLE = (
    "AuthorizationPermissionMismatch",
    "This request is not authorized to perform this operation using this permission.",
)


def refusal(request: Request, sandbox: Backend) -> tuple[str, str] | None:
    """Return the code and message of the 403 that a request gets; None when it may pass."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    name = request.parameters.get("account", HOME_ACCOUNT)
    if "sig" in request.query:
        signed = check_sas(sandbox, request.parameters["container"], urlencode(request.query))
        return None if signed and name == HOME_ACCOUNT else _FAILED
    if scheme.lower() == "bearer":
        return _by_token(request, account_named(sandbox.store, name), sandbox)
    proofs = _signatures(request, sandbox) if scheme == "SharedKey" else []
    good = any(hmac.compare_digest(given.encode(), f"{name}:{one}".encode()) for one in proofs)
    return None if good else _FAILED


def _by_token(request: Request, account: Resource | None, sandbox: Backend) -> tuple[str, str] | None:
    try:
        caller = sandbox.tokens.principal(request.headers["authorization"], STORAGE_AUDIENCES)
    except TokenRefused:
        return _FAILED
    action = f"{_BLOBS}/{_VERBS.get(request.method, 'write')}"
    group = f"/subscriptions/{sandbox.settings.subscription_id}/resourceGroups/{sandbox.settings.resource_group}"
    home = f"{group}/providers/Microsoft.Storage/storageAccounts/{HOME_ACCOUNT}"
    scope = account.id if account is not None else home
    return None if sandbox.directory.allows_data(caller, action, scope) else _NO_ROLE


def _signatures(request: Request, sandbox: Backend) -> list[str]:
    """Return what the request's signature may be: one for each of the account's keys."""
    name = request.parameters.get("account", HOME_ACCOUNT)
    account = account_named(sandbox.store, name)
    keys = home_keys(sandbox) if name == HOME_ACCOUNT else account.secrets if account is not None else {}
    message = _string_to_sign(request, name).encode()
    return [
        base64.b64encode(hmac.new(base64.b64decode(key), message, hashlib.sha256).digest()).decode()
        for key in keys.values()
    ]


def _string_to_sign(request: Request, account: str) -> str:
    values = {name: request.headers.get(name, "") for name in _SIGNED}
    if values["content-length"] == "0":
        values["content-length"] = ""
    if "x-ms-date" in request.headers:
        values["date"] = ""
    own = sorted((name, value.strip()) for name, value in request.headers.items() if name.startswith("x-ms-"))
    path = request.path.split("/blob", 1)[1].removeprefix(f"/{account}")
    query = sorted((name.lower(), value) for name, value in request.query.items())
    return "\n".join(
        [
            request.method,
            *values.values(),
            *(f"{name}:{value}" for name, value in own),
            f"/{account}{path}" + "".join(f"\n{name}:{value}" for name, value in query),
        ]
    )


def folder(request: Request) -> str:
    """Return the container of a request as blobs are named by: other accounts than the home one in front.

    A container's name has no dot, so none of one account is one of another's.
    """
    account, container = request.parameters.get("account", HOME_ACCOUNT), request.parameters["container"]
    return container if account == HOME_ACCOUNT else f"{account}.{container}"


def exists(request: Request, sandbox: Backend) -> bool:
    """Return whether a request's container is there; in the home account each one is."""
    name = request.parameters.get("account", HOME_ACCOUNT)
    account = account_named(sandbox.store, name)
    if account is None:
        return name == HOME_ACCOUNT
    found = sandbox.store.get(f"{account.id}/blobContainers/{request.parameters['container']}")
    return found is not None and ids.key(ids.parent(found.id)) == account.key
