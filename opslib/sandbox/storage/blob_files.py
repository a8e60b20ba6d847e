"""Where blob contents are on disk, and how the service's URIs name them."""

import hashlib
import re
import uuid
from pathlib import Path
from urllib.parse import unquote, urlsplit

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.core import ids
from opslib.sandbox.core.azure_hosts import BLOB_SUFFIX

_DATASTORE = re.compile(
    r"^azureml://(?P<workspace>subscriptions/[^/]+/resource[gG]roups/[^/]+/(?:providers/[^/]+/)?workspaces/[^/]+/)?"
    r"datastores/(?P<datastore>[^/]+)/paths/(?P<path>.*)$",
    re.IGNORECASE,
)


def content_path(root: Path, name: str) -> Path:
    """Return the file that holds a blob: named by a digest, so no blob name can leave the folder."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return root / digest[:2] / digest


def check_name(name: str) -> str:
    """Refuse a blob name that could not be written out as a relative path."""
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in name or "\x00" in name:
        raise ArmError(
            400,
            "InvalidUri",
            f"The blob name '{name}' is refused: its segments must not be empty, '.' or '..'.",
        )
    return name


def container(workspace: str) -> str:
    """Return the name of a workspace's blob container."""
    return f"azureml-blobstore-{uuid.uuid5(uuid.NAMESPACE_URL, ids.key(workspace))}"


def locate(uri: str, workspace: str) -> str:
    """Return `container/path` of an asset's URI.

    Understands `azureml://[subscriptions/.../]datastores/{d}/paths/{p}` and the sandbox's own
    `https://127.0.0.1:PORT/blob/{account}/{container}/{p}` - the port is not looked at, because it may
    change between two runs of one sandbox - and `https://sandbox.blob.core.windows.net/{container}/{p}`.
    """
    match = _DATASTORE.match(uri)
    if match:
        named = match["workspace"]
        if named:
            parts = named.strip("/").split("/")
            workspace = ids.workspace_id({"subscription": parts[1], "group": parts[3], "workspace": parts[-1]})
        return f"{container(workspace)}/{match['path'].strip('/')}"
    pieces = unquote(urlsplit(uri).path).strip("/").split("/")
    if uri.startswith(f"https://sandbox.{BLOB_SUFFIX}/") and len(pieces) > 1:
        return "/".join(pieces)
    if uri.startswith("https://127.0.0.1:") and len(pieces) > 2 and pieces[0].startswith("blob"):
        skip = 2 if pieces[0] == "blob" else 1
        return "/".join(pieces[skip:])
    raise ArmError.validation(
        "Uri",
        f"The sandbox cannot read '{uri}': expected azureml://.../datastores/{{name}}/paths/{{path}} "
        "or an address that it gave out itself.",
    )
