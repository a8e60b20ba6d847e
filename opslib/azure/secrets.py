"""Secrets by reference: ``env:NAME`` and ``keyvault:NAME``. Parameters name a secret, they never hold one."""

import os

from pydantic import SecretStr

from opslib.errors import ConnectError, ParameterError
from opslib.redaction.redact import MIN_LENGTH, is_reference, register

VAULT_VARIABLE = "OPSLIB_KEYVAULT_URL"


def secret(reference: str) -> SecretStr:
    """Resolve a reference to a secret, and see to it that the value reaches no evidence.

    Parameters
    ----------
    reference
        ``env:NAME`` (a variable), ``keyvault:NAME`` (in the vault that ``OPSLIB_KEYVAULT_URL`` names) or
        ``keyvault:https://VAULT.vault.azure.net/NAME``.

    Returns
    -------
    pydantic.SecretStr
        Shows itself as stars; ``.get_secret_value()`` for those who need the value.

    Raises
    ------
    ParameterError
        If it is no reference, or the value is too short to be told apart from ordinary text.
    ConnectError
        If there is no such secret, or it may not be read.
    """
    return SecretStr(resolve(reference))


def resolve(reference: str) -> str:
    """Resolve a reference to its value, registered with the redactor."""
    if not is_reference(reference):
        raise ParameterError(
            "a secret is passed by reference: expected env:NAME or keyvault:NAME, got a value (not shown here)"
        )
    kind, _, name = reference.partition(":")
    value = os.environ.get(name) if kind == "env" else _read_vault(name)
    if value is None:
        raise ConnectError(f"{reference} leads nowhere: the variable {name} is not set")
    if len(value) < MIN_LENGTH:
        raise ParameterError(
            f"the value of {reference} has fewer than {MIN_LENGTH} characters: it could not be kept out of the "
            "evidence. Use a longer one"
        )
    register(value)
    return value


def _read_vault(name: str) -> str:
    """Read a secret from Azure Key Vault."""
    try:
        from azure.core.exceptions import AzureError  # noqa: PLC0415 - only for those who keep secrets in a vault
        from azure.identity import DefaultAzureCredential  # noqa: PLC0415
        from azure.keyvault.secrets import SecretClient  # noqa: PLC0415
    except ImportError as error:
        raise ConnectError(f"keyvault:{name} needs the extra: pip install 'opslib[keyvault]'") from error
    vault, _, bare = name.rpartition("/")
    vault = vault or os.environ.get(VAULT_VARIABLE, "")
    if not vault.startswith("https://"):
        raise ConnectError(
            f"keyvault:{name} names no vault: set {VAULT_VARIABLE} to https://NAME.vault.azure.net, or write "
            f"keyvault:https://NAME.vault.azure.net/{bare}"
        )
    try:
        with SecretClient(vault, DefaultAzureCredential()) as client:
            value = client.get_secret(bare).value
    except AzureError as error:
        raise ConnectError(f"keyvault:{name} cannot be read from {vault}: {error.message}") from error
    if value is None:
        raise ConnectError(f"keyvault:{name} is empty in {vault}")
    return value
