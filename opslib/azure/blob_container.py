"""A blob container: each blob is created once, read back, and never overwritten. Evidence is never removed.

Such writes work on an immutable container (time-based retention or legal hold) too. Source:
https://learn.microsoft.com/azure/storage/blobs/immutable-container-level-worm-policies.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError as CoreError
from azure.core.exceptions import HttpResponseError, ResourceExistsError

from opslib.azure.sign_in import get_token
from opslib.errors import AzureError, ParameterError, RecordError
from opslib.import_shims import without_aiohttp

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

STORAGE_SCOPE = "https://storage.azure.com/.default"
"""Scope of a token for blobs, the same in every cloud; azure-storage-blob requests it too."""


class Container:
    """One blob container; `url` is its address, without credentials."""

    def __init__(self, client: "ContainerClient", url: str) -> None:
        self._client = client
        self.url = url

    def sizes(self, prefix: str = "") -> Mapping[str, tuple[int, bytes]]:
        """Return size and MD5 (empty where the service has none) of every blob with the prefix."""
        with _mapped(f"list {self.url}"):
            blobs = self._client.list_blobs(name_starts_with=prefix or None)
            return {b.name: (int(b.size or 0), bytes(b.content_settings.content_md5 or b"")) for b in blobs}

    def etags(self, prefix: str) -> Mapping[str, str]:
        """Return the ETag of every blob with the prefix."""
        with _mapped(f"list {self.url}"):
            return {blob.name: str(blob.etag) for blob in self._client.list_blobs(name_starts_with=prefix)}

    def remove(self, name: str) -> bool:
        """Remove a blob that is not evidence; return whether it is gone. An immutable container keeps it."""
        try:
            with _mapped(f"remove {self.url}/{name}"):
                self._client.delete_blob(name)
        except AzureError as error:
            if error.status not in {404, 409}:
                raise
            return error.status == 404
        return True

    def read(self, name: str) -> bytes:
        """Read a whole blob."""
        with _mapped(f"read {self.url}/{name}"):
            return bytes(self._client.download_blob(name).readall())

    def create(self, name: str, content: bytes) -> bool:
        """Create a blob and read it back; return whether it is new.

        Raises
        ------
        RecordError
            If the blob exists with other content, or is read back with other content than was sent.
        """
        new = True
        with _mapped(f"create {self.url}/{name}"):
            try:
                self._client.upload_blob(name, content, overwrite=False, validate_content=True)
            except ResourceExistsError:
                new = False  # it may be this call's own first attempt, whose response was lost
        seen = self.read(name)
        if seen != content:
            raise RecordError(
                f"{self.url}/{name} has other content ({_describe(seen)}, expected {_describe(content)}): it was "
                "published from another archive, or altered. Nothing was overwritten"
            )
        return new


@contextmanager
def open_container(url: str, credential: TokenCredential | None = None) -> Iterator[Container]:
    """Open a container with `DefaultAzureCredential`.

    Raises
    ------
    ParameterError
        If the address has a query (a SAS token is a secret) or is not that of a container.
    ConnectError
        If there is no credential: nothing was read or written.
    """
    parts = urlsplit(url)
    if (
        parts.scheme != "https"
        or parts.query
        or len(parts.path.strip("/").split("/")) > 2
        or not parts.path.strip("/")
    ):
        raise ParameterError(
            "expected https://ACCOUNT.blob.core.windows.net/CONTAINER, without a query (opslib signs in with "
            f"DefaultAzureCredential), got {_without_secrets(url)}"
        )
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - only `publish` needs it

    with without_aiohttp():
        from azure.storage.blob import ContainerClient  # noqa: PLC0415

    address = url.rstrip("/")
    credential = credential or DefaultAzureCredential()
    get_token(credential, STORAGE_SCOPE)  # azure-storage-blob would retry a missing sign-in for 80 s
    with ContainerClient.from_container_url(address, credential=credential) as client:
        yield Container(client, address)


@contextmanager
def _mapped(what: str) -> Iterator[None]:
    """Raise azure-core's errors as ours."""
    try:
        yield
    except ResourceExistsError:
        raise
    except HttpResponseError as error:
        code = str(getattr(error, "error_code", "") or "")
        raise AzureError(f"{what}: {error.status_code} {code} {error.reason}", error.status_code, code) from error
    except CoreError as error:
        raise AzureError(f"{what}: {error.message}") from error


def _without_secrets(url: str) -> str:
    """Return an address without its query and its user's name, which may be secrets."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.split("@")[-1], query="", fragment="").geturl()


def _describe(content: bytes) -> str:
    return f"{len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()[:12]}"
