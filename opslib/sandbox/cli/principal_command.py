"""`opslib sandbox principal ...`: add, list and remove identities other than the operator."""

import argparse
import json
import shlex
from typing import Any
from urllib.parse import quote

from opslib.sandbox.cli.admin_client import call, run_command
from opslib.sandbox.core.home import Home
from opslib.sandbox.core.private_files import write_private


def register(parser: argparse.ArgumentParser) -> None:
    """Add the options of `principal`."""
    parser.add_argument("what", choices=("add", "list", "remove"), help="what to do")
    parser.add_argument(
        "name", metavar="NAME", nargs="?", default="", help="name of the principal to add or remove"
    )
    parser.add_argument(
        "--role", help="role to assign: Reader, Contributor, 'AzureML Data Scientist', ... (default: none)"
    )
    parser.add_argument(
        "--scope", metavar="ID", help="ARM id on which it has the role (default: the sandbox's workspace)"
    )
    parser.add_argument("--seconds", type=float, help="how long it has the role [s] (default: until it is removed)")
    parser.add_argument("--json", action="store_true", help="print the sandbox's answer as JSON, not export lines")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Add, list or remove principals of a running sandbox."""
    return run_command(
        arguments, lambda home: _call(home, arguments), lambda home, row: _show(home, arguments, row)
    )


def environment(home: Home, row: dict[str, Any]) -> dict[str, str]:
    """Return the variables with which azure-identity authenticates as a principal, by secret or federated token.

    The tenant is called `adfs`: for any other tenant of an unknown authority MSAL queries a public address.
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


def _call(home: Home, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    if arguments.what == "list":
        return call(home, "GET", "principals")
    if arguments.what == "remove":
        if not arguments.name:
            raise ValueError("NAME is missing. Expected: opslib sandbox principal remove NAME")
        return call(home, "DELETE", f"principals/{quote(arguments.name, safe='')}")
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
