"""Azure's own host names that the sandbox serves.

The names are those of Azure's public cloud in https://management.azure.com/metadata/endpoints.
"""

HOSTS = (
    "management.azure.com",
    "login.microsoftonline.com",
    "api.loganalytics.io",
    "prices.azure.com",
)
BLOB_SUFFIX = "blob.core.windows.net"
STORAGE_SUFFIX = "core.windows.net"
REGISTRY_PREFIX = "/mferp/managementfrontend"
"""What azure-ai-ml puts before ARM's paths at the address of a registry (`_registry_utils.py`)."""

SANDBOX_STORAGE_SUFFIX = "sandbox.invalid"


def covers(host: str) -> bool:
    """Return whether the sandbox serves an Azure host name."""
    return host in HOSTS or account_of(host) is not None


def account_of(host: str) -> str | None:
    """Return the storage account that a blob host name belongs to.

    Examples
    --------
    >>> account_of("pictures.blob.core.windows.net")
    'pictures'
    >>> account_of("blob.core.windows.net") is None
    True
    """
    account, _, rest = host.partition(".")
    return account if rest == BLOB_SUFFIX else None


def own_path(host: str, path: str) -> str:
    """Return the path of a request in the sandbox's routes: a blob host's account becomes its first segment.

    Examples
    --------
    >>> own_path("pictures.blob.core.windows.net", "/cats/1.png")
    '/blob/pictures/cats/1.png'
    """
    account = account_of(host)
    if path.startswith(REGISTRY_PREFIX):
        return path.removeprefix(REGISTRY_PREFIX)
    return path if account is None else f"/blob/{account}{path}"
