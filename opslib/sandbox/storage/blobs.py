"""Handlers: the part of Azure Blob Storage that the SDK uploads and downloads with.

Source: Microsoft Learn, Blob service REST API (Put Blob, Put Block, Put Block List, Get Blob Properties,
Set Blob Metadata, List Blobs).
"""

import asyncio
import base64
import hashlib
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from email.utils import formatdate
from pathlib import Path

from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.records import Blob
from opslib.sandbox.arm.routing import RECORDED, Auth, Known, Route
from opslib.sandbox.core.azure_hosts import SANDBOX_STORAGE_SUFFIX
from opslib.sandbox.core.clock import MICROSECONDS, now_us
from opslib.sandbox.core.context import Backend
from opslib.sandbox.storage.accounts import account_named, add_container
from opslib.sandbox.storage.auth import exists, folder, refusal
from opslib.sandbox.storage.blob_files import check_name, content_path
from opslib.sandbox.storage.blob_list import etag, is_metadata_name, list_page

_META = "x-ms-meta-"
_VERSION = {"x-ms-version": "2024-05-04"}


def refuse(request: Request, sandbox: Backend) -> Response | None:
    """Return the refusal of a request without access or without a container; None when it may pass.

    Raises
    ------
    ArmError
        If a blob's name cannot be written out as a path.
    """
    if "name" in request.parameters and request.method == "PUT":
        check_name(request.parameters["name"])
    refused = refusal(request, sandbox)
    if refused is not None:
        return _error(403, *refused)
    if not exists(request, sandbox) and not _makes_container(request):
        return _error(404, "ContainerNotFound", "The specified container does not exist.")
    if not all(map(is_metadata_name, _metadata(request))):
        message = "The specified metadata is invalid. It includes characters that are not permitted."
        return _error(400, "InvalidMetadata", message)
    return _unmet(request, sandbox) if "name" in request.parameters else None


def _unmet(request: Request, sandbox: Backend) -> Response | None:
    """Return the refusal of a request whose condition on the blob's ETag does not hold; None when it may pass.

    Source: Microsoft Learn, "Specifying conditional headers for Blob service operations".
    """
    wanted, other = (request.headers.get(name, "").strip(' "') for name in ("if-match", "if-none-match"))
    blob = sandbox.store.get_blob(_name(request)) if wanted or other else None
    if blob is None:
        met = not wanted or request.method != "PUT"  # else the handler answers that it is not there
    elif request.method in ("GET", "HEAD") and other == etag(blob):
        return Response(304, None, _headers(blob))
    else:
        met = wanted in ("", "*", etag(blob)) and other != etag(blob)
    message = "The condition specified using HTTP conditional header(s) is not met."
    return None if met else _error(412, "ConditionNotMet", message)


def get_blob(request: Request, sandbox: Backend) -> Response:
    """`GET` or `HEAD` a blob, or a range of it."""
    blob = sandbox.store.get_blob(_name(request))
    if blob is None:
        return _error(404, "BlobNotFound", "The specified blob does not exist.")
    headers = _headers(blob)
    if request.method == "HEAD":
        return Response(200, None, {**headers, "Content-Length": str(blob.size)})
    path = content_path(_root(sandbox), blob.name)
    span = request.headers.get("x-ms-range") or request.headers.get("range")
    return _range(path, blob, span, headers) if span else Response(200, path, headers)


async def put_blob(request: Request, sandbox: Backend) -> Response:
    """`PUT` a blob, a block (`comp=block`), a block list (`comp=blocklist`) or metadata (`comp=metadata`)."""
    component = request.query.get("comp")
    if component == "block":
        return _put_block(request, sandbox)
    if component == "blocklist":
        return await _put_block_list(request, sandbox)
    if component == "metadata":
        return _put_metadata(request, sandbox)
    if component is not None or request.headers.get("x-ms-blob-type", "BlockBlob") != "BlockBlob":
        return _error(501, "NotImplemented", f"The sandbox does not implement PUT comp={component}.")
    return await _store(request, sandbox, [request.body])


def delete_blob(request: Request, sandbox: Backend) -> Response:
    """`DELETE` a blob."""
    blob = sandbox.store.get_blob(_name(request))
    if blob is None:
        return _error(404, "BlobNotFound", "The specified blob does not exist.")
    sandbox.store.delete_blob(blob.name)
    content_path(_root(sandbox), blob.name).unlink(missing_ok=True)
    return Response(202, None, _VERSION)


def container(request: Request, sandbox: Backend) -> Response:
    """`GET ?restype=container`: its properties, or with `comp=list` its blobs; `PUT`: make it."""
    if request.method == "PUT":
        return _put_container(request, sandbox)
    if request.query.get("comp") != "list":
        return Response(200, None, _VERSION)
    blobs = sandbox.store.blobs(f"{folder(request)}/{request.query.get('prefix', '')}")
    shown = list_page(request.parameters["container"], blobs, request.query)
    return Response(200, shown, {**_VERSION, "Content-Type": "application/xml"})


def _put_container(request: Request, sandbox: Backend) -> Response:
    account = account_named(sandbox.store, request.parameters.get("account", ""))
    if account is None or exists(request, sandbox):
        return _error(409, "ContainerAlreadyExists", "The specified container already exists.")
    add_container(sandbox.store, account.id, request.parameters["container"])
    return Response(201, None, _VERSION)


def busy(status: int) -> Response:
    """Return the response of an overloaded storage service."""
    return _error(status, "ServerBusy", "The server is currently unable to receive requests. Please retry.")


def _put_block(request: Request, sandbox: Backend) -> Response:
    path = _block(sandbox, _name(request), request.query.get("blockid", ""))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(request.body)
    return Response(201, None, _VERSION)


async def _put_block_list(request: Request, sandbox: Backend) -> Response:
    try:
        names = [element.text or "" for element in ET.fromstring(request.body)]  # noqa: S314 - see below
    except ET.ParseError as error:
        return _error(400, "InvalidXmlDocument", f"XML specified is not syntactically valid: {error}.")
    paths = [_block(sandbox, _name(request), name) for name in names]
    if not all(path.exists() for path in paths):
        return _error(400, "InvalidBlockList", "The specified block list is invalid: a block was not uploaded.")
    answer = await _store(request, sandbox, paths)
    for path in paths:
        path.unlink(missing_ok=True)
    return answer


def _put_metadata(request: Request, sandbox: Backend) -> Response:
    blob = sandbox.store.get_blob(_name(request))
    if blob is None:
        return _error(404, "BlobNotFound", "The specified blob does not exist.")
    changed = Blob(blob.name, blob.size, blob.content_type, blob.md5, _metadata(request), now_us())
    sandbox.store.put_blob(changed)
    return Response(200, None, _headers(changed))


async def _store(request: Request, sandbox: Backend, parts: Sequence[bytes | Path]) -> Response:
    name = _name(request)
    before = sandbox.store.get_blob(name)
    if before is not None and request.headers.get("if-none-match") == "*":
        return _error(409, "BlobAlreadyExists", "The specified blob already exists.")
    size, md5 = await asyncio.to_thread(_write, content_path(_root(sandbox), name), parts)
    kind = request.headers.get("x-ms-blob-content-type") or "application/octet-stream"
    blob = Blob(name, size, kind, md5, _metadata(request), now_us())
    sandbox.store.put_blob(blob)
    return Response(201, None, {**_headers(blob), "Content-MD5": md5})


def _write(path: Path, parts: Sequence[bytes | Path]) -> tuple[int, str]:
    """Write a blob's content, whole or not at all; return its size and MD5. Runs in a thread."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{uuid.uuid4().hex}.part")
    digest, size = hashlib.md5(usedforsecurity=False), 0
    with temporary.open("wb") as file:
        for part in parts:
            content = part if isinstance(part, bytes) else part.read_bytes()
            file.write(content)
            digest.update(content)
            size += len(content)
    temporary.replace(path)
    return size, base64.b64encode(digest.digest()).decode()


def _makes_container(request: Request) -> bool:
    return request.method == "PUT" and "name" not in request.parameters


def _name(request: Request) -> str:
    return f"{folder(request)}/{request.parameters['name']}"


def _root(sandbox: Backend) -> Path:
    return sandbox.home.state / "blobs"


def _block(sandbox: Backend, name: str, block: str) -> Path:
    return content_path(_root(sandbox), f"{name}\n{block}").with_suffix(".block")


def _metadata(request: Request) -> dict[str, str]:
    return {name[len(_META) :]: value for name, value in request.headers.items() if name.startswith(_META)}


def _headers(blob: Blob) -> dict[str, str]:
    return {
        **_VERSION,
        "Content-Type": blob.content_type,
        "ETag": f'"{etag(blob)}"',
        "Last-Modified": formatdate(blob.modified_us / MICROSECONDS, usegmt=True),
        "x-ms-blob-type": "BlockBlob",
        "x-ms-access-tier": "Hot",
        "Accept-Ranges": "bytes",
        **{_META + name: value for name, value in blob.metadata.items()},
    }


def _range(path: Path, blob: Blob, span: str, headers: dict[str, str]) -> Response:
    first, _, last = span.removeprefix("bytes=").partition("-")
    start = int(first) if first.isdigit() else 0
    end = min(int(last) if last.isdigit() else blob.size - 1, blob.size - 1)
    if start > end:
        return _error(416, "InvalidRange", "The range specified is invalid for the current size of the resource.")
    with path.open("rb") as file:
        file.seek(start)
        content = file.read(end - start + 1)
    return Response(206, content, {**headers, "Content-Range": f"bytes {start}-{end}/{blob.size}"})


def _error(status: int, code: str, message: str) -> Response:
    root = ET.Element("Error")
    ET.SubElement(root, "Code").text = code
    ET.SubElement(root, "Message").text = message
    body = b'<?xml version="1.0" encoding="utf-8"?>' + ET.tostring(root)
    return Response(status, body, {**_VERSION, "Content-Type": "application/xml", "x-ms-error-code": code})


# the two addresses that the SDK uses
_BY_ACCOUNT = "/blob/{account}/{container}"
_BY_DATASTORE = f"/blob.blob.{SANDBOX_STORAGE_SUFFIX}/{{container}}"
ROUTES = tuple(
    Route(method, base + path, operation, handler, Auth.BLOB, RECORDED if method == "HEAD" else Known.DOCUMENTED)
    for base in (_BY_ACCOUNT, _BY_DATASTORE)
    for method, path, operation, handler in (
        ("GET", "", "Blob_Container", container),
        ("PUT", "", "Blob_Container", container),
        ("POST", "", "Blob_Batch", None),
        ("GET", "/{name*}", "Blob_Get", get_blob),
        ("HEAD", "/{name*}", "Blob_Get", get_blob),
        ("PUT", "/{name*}", "Blob_Put", put_blob),
        ("DELETE", "/{name*}", "Blob_Delete", delete_blob),
    )
)
