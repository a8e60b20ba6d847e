"""`opslib cost`: what an endpoint costs, and what it would cost with other instances."""

import argparse
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from opslib.cli.target_option import add_target_option
from opslib.errors import ObserveError, ParameterError
from opslib.model import CostChange, Endpoint

if TYPE_CHECKING:
    from opslib.azure.connect import Workspace

EPILOG = """\
exit codes:
  0  every deployment has a price, and the cost is within the policy's ceiling
  1  a price was not found, or the cost is above the ceiling

examples:
  opslib cost fraud
  opslib cost fraud --instances green=4 --instances blue=0       # what if; 0: deleted
  opslib cost fraud --json > infracost.json
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Show what an endpoint's deployments cost at list prices, per hour and per month (730 h),\n"
        "and which of them are billed without use: idle or failed."
    )
    parser.epilog = EPILOG
    parser.add_argument("endpoint", metavar="ENDPOINT", help="the endpoint's name")
    add_target_option(parser)
    parser.add_argument(
        "--policy", type=Path, metavar="FILE", help="policy.yml with the ceiling and the currency (default: none)"
    )
    parser.add_argument(
        "--instances",
        action="append",
        default=[],
        metavar="NAME=N",
        help="compare with this number of instances, 0 for a deleted deployment; repeat it for more",
    )
    parser.add_argument(
        "--idle-h",
        type=float,
        default=24.0,
        metavar="HOURS",
        help="time without requests that is idle (default: 24)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON in the form of infracost's breakdown")


def run(arguments: argparse.Namespace) -> int:
    """Print the table or JSON."""
    from opslib.azure.connect import connect
    from opslib.azure.endpoints import read_endpoint
    from opslib.azure.retail_prices import read_prices
    from opslib.cost.estimate import cost_change, endpoint_cost, with_instances
    from opslib.cost.infracost import as_infracost
    from opslib.cost.text import money
    from opslib.policy.reading import read_policy
    from opslib.show.costs import cost_table

    limit = read_policy(arguments.policy).cost if arguments.policy else None
    instances = _instances(arguments.instances)
    workspace = connect(arguments.target)
    endpoint = read_endpoint(workspace, arguments.endpoint)
    types = {deployment.instance_type for deployment in endpoint.deployments}
    prices = read_prices(workspace, endpoint, types, limit.currency if limit else "USD")
    now = endpoint_cost(endpoint, prices)
    change = cost_change(now, with_instances(now, instances), prices)
    above = limit is not None and change.after.per_month > limit.ceiling
    if arguments.json:
        print(json.dumps(as_infracost(change, endpoint.id, datetime.now(UTC)), indent=2))
    else:
        requests = _requests(workspace, endpoint, arguments.idle_h)
        print(
            cost_table(
                f"Cost of endpoint {endpoint.name}", change, _remarks(change, requests, arguments.idle_h)
            ).text
        )
        if limit is not None:
            unpriced = change.after.unpriced
            state = "above" if above else "not compared with" if unpriced else "within"
            why = f": no price of {', '.join(unpriced)}" if unpriced and not above else ""
            print(f"{state} the policy's ceiling of {money(limit.ceiling)} {limit.currency} per month{why}")
    return 1 if above or change.after.unpriced else 0


def _instances(given: list[str]) -> dict[str, int]:
    """Read NAME=N pairs."""
    pairs = [text.partition("=") for text in given]
    if wrong := [name for name, _, count in pairs if not name or not count.isdecimal()]:
        raise ParameterError(f"--instances takes NAME=N with N from 0 on, got {', '.join(map(repr, wrong))}")
    return {name: int(count) for name, _, count in pairs}


def _requests(workspace: "Workspace", endpoint: Endpoint, hours: float) -> Mapping[str, int] | None:
    """Count the requests that each deployment answered in the last hours; None where they cannot be read."""
    from opslib.azure.source import find_source

    until = datetime.now(UTC)
    try:
        source = find_source(workspace, endpoint, grain_s=3600.0)
        served = source.observe(until - timedelta(hours=hours), until).total
    except ObserveError:
        return None
    return {name.lower(): one.requests for name, one in served.items()}


def _remarks(change: CostChange, requests: Mapping[str, int] | None, hours: float) -> dict[str, str]:
    from opslib.cost.estimate import waste

    return {
        one.deployment: waste(one, None if requests is None else requests.get(one.deployment.lower(), 0), hours)
        for one in change.after.deployments
    }
