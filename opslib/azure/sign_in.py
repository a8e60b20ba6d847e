"""A token for Azure, and what a person reads where there is none."""

import logging

from azure.core.credentials import TokenCredential
from azure.core.exceptions import ClientAuthenticationError

from opslib.errors import ConnectError


def get_token(credential: TokenCredential, scope: str) -> str:
    """Return an access token for a scope such as ``https://storage.azure.com/.default``.

    Raises
    ------
    ConnectError
        If there is no credential, or Azure refuses it.
    """
    # azure-identity also logs the message of its error; without a handler Python prints that to the terminal.
    logging.getLogger("azure.identity").addHandler(_QUIET)
    try:
        return credential.get_token(scope).token
    except ClientAuthenticationError as error:
        raise ConnectError(
            "azure-identity found no credential. Sign in with `az login`, or set the environment variables of a "
            f"service principal or managed identity. {error.message}"
        ) from error


_QUIET = logging.NullHandler()
