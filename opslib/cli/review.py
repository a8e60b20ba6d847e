"""`opslib review`: the security review of an endpoint, without a run's evidence."""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from opslib.cli.target_option import add_target_option
from opslib.errors import PolicyError

EPILOG = """\
exit codes:
  0  no open finding at or above --fail-on
  1  at least one
  2  the endpoint cannot be reviewed
  4  none was found, but roles, workspace settings or key events could not be read

A reader's role is enough. What could not be read is listed with the reason. `opslib run review` leaves evidence.

example:
  opslib review fraud --policy fraud/policy.yml --fail-on medium --sarif
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = "Review an endpoint's authentication, network, identity, access, secrets and lineage."
    parser.epilog = EPILOG
    parser.add_argument("endpoint", metavar="ENDPOINT", help="the endpoint's name")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="the endpoint's policy.yml (default: none)")
    add_target_option(parser)
    parser.add_argument(
        "--fail-on",
        choices=["high", "medium", "low", "info", "none"],
        default="high",
        help="least severe open finding for exit code 1 (default: high)",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", dest="form", action="store_const", const="json", help="print JSON")
    form.add_argument("--sarif", dest="form", action="store_const", const="sarif", help="print SARIF 2.1.0")
    parser.set_defaults(form="text")


def run(arguments: argparse.Namespace) -> int:
    """Review the endpoint and print the report."""
    from opslib.azure.connect import connect
    from opslib.azure.endpoints import read_endpoint
    from opslib.policy.reading import read_policy
    from opslib.review.reports import as_json, as_sarif, as_text
    from opslib.runbooks.review import conclude_review, read_facts, review_facts

    policy = read_policy(arguments.policy) if arguments.policy else None
    if policy is not None and policy.endpoint != arguments.endpoint:
        raise PolicyError(
            f"{arguments.policy} is the policy of endpoint {policy.endpoint!r}, expected {arguments.endpoint!r}"
        )
    workspace = connect(arguments.target)
    facts = read_facts(workspace, read_endpoint(workspace, arguments.endpoint), datetime.now(UTC))
    found = review_facts(facts, policy)
    print({"json": as_json, "sarif": as_sarif, "text": as_text}[arguments.form](found))
    outcome, _ = conclude_review(found, arguments.fail_on)
    return outcome.exit_code
