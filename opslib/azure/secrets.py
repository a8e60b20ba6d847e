"""Secrets by reference (``env:NAME``, ``keyvault:NAME``): a parameter holds the reference, never the value."""

import os

from pydantic import SecretStr

from opslib.errors import ConnectError, ParameterError
from opslib.redaction.redact import MIN_LENGTH, is_reference, register

VAULT_VARIABLE = "OPSLIB_KEYVAULT_URL"


def secret(reference: str) -> SecretStr:
    """Resolve a reference to a secret, and register the value for redaction from all evidence.

    Parameters
    ----------
    reference
        ``env:NAME`` (an environment variable), ``keyvault:NAME`` (in the vault of ``OPSLIB_KEYVAULT_URL``) or
        ``keyvault:https://VAULT.vault.azure.net/NAME``.

    Returns
    -------
    pydantic.SecretStr
        Displayed as stars; ``.get_secret_value()`` returns the value.

    Raises
    ------
    ParameterError
        If it is not a reference, or the value is too short to be redacted without redacting ordinary text.
    ConnectError
        If the secret does not exist or cannot be read.
    """
    return SecretStr(resolve(reference))


def resolve(reference: str) -> str:
    """Resolve a reference to its value, and register the value with the redactor."""
    if not is_reference(reference):
        raise ParameterError(
            "a secret is passed by reference: expected env:NAME or keyvault:NAME, got a value (not shown here)"
        )
    kind, _, name = reference.partition(":")
    value = os.environ.get(name) if kind == "env" else _read_vault(name)
    if value is None:
        raise ConnectError(f"{reference}: the environment variable {name} is not set")
    if len(value) < MIN_LENGTH:
        raise ParameterError(
            f"the value of {reference} has fewer than {MIN_LENGTH} characters: too short to be redacted from the "
            "evidence. Use a longer secret"
        )
    register(value)
    return value


def _read_vault(name: str) -> str:
    """Read a secret from Azure Key Vault."""
    try:
        from azure.core.exceptions import AzureError  # noqa: PLC0415 - only keyvault: needs it
        from azure.identity import DefaultAzureCredential  # noqa: PLC0415
        from azure.keyvault.secrets import SecretClient  # noqa: PLC0415
    except ImportError as error:
        raise ConnectError(f"keyvault:{name} needs the extra `keyvault`: pip install 'opslib[keyvault]'") from error
    vault, _, bare = name.rpartition("/")
    vault = vault or os.environ.get(VAULT_VARIABLE, "")
    if not vault.startswith("https://"):
        raise ConnectError(
            f"keyvault:{name}: no vault is given. Set {VAULT_VARIABLE} to https://NAME.vault.azure.net, or write "
            f"keyvault:https://NAME.vault.azure.net/{bare}"
        )
    try:
        with SecretClient(vault, DefaultAzureCredential()) as client:
            value = client.get_secret(bare).value
    except AzureError as error:
        raise ConnectError(f"keyvault:{name} cannot be read from {vault}: {error.message}") from error
    if value is None:
        raise ConnectError(f"keyvault:{name} has no value in {vault}")
    return value
