"""A blob container in memory, for tests of what is published."""

import hashlib

from opslib.azure.blob_container import Container
from opslib.errors import AzureError, RecordError


class Memory(Container):
    """A container in memory; `immutable` keeps what is to be removed."""

    def __init__(self):
        self.url = "https://account.blob.core.windows.net/container"
        self.blobs: dict[str, bytes] = {}
        self.reads: list[str] = []
        self.immutable = False

    def sizes(self, prefix=""):
        listed = {name: blob for name, blob in self.blobs.items() if name.startswith(prefix)}
        return {name: (len(b), hashlib.md5(b, usedforsecurity=False).digest()) for name, b in listed.items()}

    def etags(self, prefix):
        return {name: hashlib.sha256(b).hexdigest() for name, b in self.blobs.items() if name.startswith(prefix)}

    def read(self, name):
        self.reads.append(name)
        if name not in self.blobs:
            raise AzureError(f"read {name}: 404", 404)
        return self.blobs[name]

    def create(self, name, content):
        if self.blobs.setdefault(name, content) != content:
            raise RecordError(f"{name} has other content")
        return True

    def remove(self, name):
        return not self.immutable and self.blobs.pop(name, None) is not None
