"""`opslib sandbox principal ...`: add, list and remove identities other than the operator."""

import argparse
import json
import shlex
from typing import Any

from opslib.sandbox.cli.admin_client import call, run_word
from opslib.sandbox.core.certificates import write_private
from opslib.sandbox.core.home import Home


def register(parser: argparse.ArgumentParser) -> None:
    """Add the word's arguments."""
    parser.add_argument("what", choices=("add", "list", "remove"))
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--role", help="a role to give it: Reader, Contributor, 'AzureML Data Scientist', ...")
    parser.add_argument("--scope", help="ARM id on which it has the role (default: the sandbox's own workspace)")
    parser.add_argument("--seconds", type=float, help="how long it has the role (default: until it is taken away)")
    parser.add_argument(
        "--json", action="store_true", help="print what the sandbox answers instead of export lines"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do what the word says."""
    return run_word(arguments, lambda home: _ask(home, arguments), lambda home, row: _show(home, arguments, row))


def environment(home: Home, row: dict[str, Any]) -> dict[str, str]:
    """Return the variables with which azure-identity takes a principal, by secret or by federated token.

    The tenant is called `adfs`: MSAL asks a public address about any other at an unknown authority.
    """
    url = str((home.read_note() or {})["url"])
    token = home.private / f"federated-{row['object_id']}.jwt"
    write_private(token, row["federated_token"].encode())
    return {
        "AZURE_AUTHORITY_HOST": url,
        "AZURE_TENANT_ID": "adfs",
        "AZURE_CLIENT_ID": row["client_id"],
        "AZURE_CLIENT_SECRET": row["client_secret"],
        "AZURE_FEDERATED_TOKEN_FILE": str(token),
        "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
    }


def _ask(home: Home, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    if arguments.what == "list":
        return call(home, "GET", "principals")
    if arguments.what == "remove":
        return call(home, "DELETE", f"principals/{arguments.name}")
    sent = {name: getattr(arguments, name) for name in ("name", "role", "scope", "seconds")}
    return call(home, "POST", "principals", {name: value for name, value in sent.items() if value is not None})


def _show(home: Home, arguments: argparse.Namespace, row: dict[str, Any]) -> None:
    if arguments.json:
        print(json.dumps(row))
    elif arguments.what == "add":
        _export(home, row)
    else:
        print(f"{row['name']:<24} {row['client_id']}  {', '.join(row['roles']) or 'no role'}")


def _export(home: Home, row: dict[str, Any]) -> None:
    for name, value in environment(home, row).items():
        print(f"export {name}={shlex.quote(value)}")
