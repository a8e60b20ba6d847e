"""List Blobs: pages of a container's blobs, by prefix, and with a delimiter as folders.

Source: Microsoft Learn, Blob service REST API, "List Blobs".
"""

import base64
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from email.utils import formatdate

from opslib.sandbox.arm.records import Blob
from opslib.sandbox.core.clock import MICROSECONDS, TICKS_AT_EPOCH

MAX_RESULTS = 5000
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def etag(blob: Blob) -> str:
    """Return a blob's ETag: the time of its last change in ticks of 100 ns, as Azure's is."""
    return f"0x{blob.modified_us * 10 + TICKS_AT_EPOCH:X}"


def is_metadata_name(name: str) -> bool:
    """Return whether a name of metadata is one that Azure accepts: an identifier, which also XML can hold."""
    return _NAME.fullmatch(name) is not None


def list_page(container: str, blobs: list[Blob], query: Mapping[str, str]) -> bytes:
    """Return one page as XML.

    Parameters
    ----------
    blobs
        Those of the container that begin with the prefix, in the order of their names.
    query
        `prefix`, `delimiter`, `maxresults`, `include` and the `marker` of the page before.
    """
    size = _size(query.get("maxresults", ""))
    entries = _entries(blobs, query.get("prefix", ""), query.get("delimiter", ""))
    marker = _from_marker(query.get("marker", ""))
    rest = [(name, blob) for name, blob in entries.items() if name >= marker]
    root = ET.Element("EnumerationResults", {"ContainerName": container})
    for element, parameter in (("Prefix", "prefix"), ("Marker", "marker"), ("Delimiter", "delimiter")):
        ET.SubElement(root, element).text = query.get(parameter, "")
    ET.SubElement(root, "MaxResults").text = str(size)
    items = ET.SubElement(root, "Blobs")
    shown = "metadata" in query.get("include", "").lower().split(",")
    for name, blob in rest[:size]:
        if blob is None:
            ET.SubElement(ET.SubElement(items, "BlobPrefix"), "Name").text = name
        else:
            _add(items, name, blob, with_metadata=shown)
    ET.SubElement(root, "NextMarker").text = _as_marker(rest[size][0]) if len(rest) > size else ""
    return b'<?xml version="1.0" encoding="utf-8"?>' + ET.tostring(root)


def _entries(blobs: list[Blob], prefix: str, delimiter: str) -> dict[str, Blob | None]:
    """Return blobs by name; those behind a delimiter as one entry, without a blob."""
    found: dict[str, Blob | None] = {}
    for blob in blobs:
        name = blob.name.split("/", 1)[1]
        end = name.find(delimiter, len(prefix)) if delimiter else -1
        if end < 0:
            found[name] = blob
        else:
            found[name[: end + len(delimiter)]] = None
    return found


def _add(items: ET.Element, name: str, blob: Blob, *, with_metadata: bool) -> None:
    item = ET.SubElement(items, "Blob")
    ET.SubElement(item, "Name").text = name
    properties = ET.SubElement(item, "Properties")
    ET.SubElement(properties, "Last-Modified").text = formatdate(blob.modified_us / MICROSECONDS, usegmt=True)
    ET.SubElement(properties, "Etag").text = etag(blob)
    ET.SubElement(properties, "Content-Length").text = str(blob.size)
    ET.SubElement(properties, "Content-Type").text = blob.content_type
    ET.SubElement(properties, "Content-MD5").text = blob.md5
    ET.SubElement(properties, "BlobType").text = "BlockBlob"
    if with_metadata:
        metadata = ET.SubElement(item, "Metadata")
        for key, value in blob.metadata.items():
            if is_metadata_name(key):  # an earlier version of the sandbox kept any
                ET.SubElement(metadata, key).text = value


def _size(text: str) -> int:
    return min(max(int(text), 1), MAX_RESULTS) if text.isdecimal() else MAX_RESULTS


def _as_marker(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _from_marker(marker: str) -> str:
    try:
        return base64.urlsafe_b64decode(marker).decode()
    except ValueError:  # it is none that was given out
        return ""
