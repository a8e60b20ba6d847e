"""`opslib autoscale`: show and check the autoscale settings of an endpoint, or change them by the runbook."""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from opslib.cli.archive_option import add_archive_option, archive_of
from opslib.cli.output import print_aside
from opslib.cli.shown_run import execute_shown
from opslib.cli.target_option import add_target_option

if TYPE_CHECKING:
    from opslib.autoscale.setting import ScaleSetting

CHANGES = ("set", "move", "remove", "undo")

EPILOG = """\
show and lint need a reader's role, and leave no evidence. set, move, remove and undo run the autoscale runbook.
With approvals, a ticket or another option of `opslib run`: opslib run autoscale -p action=set -p endpoint=fraud

exit codes:
  0  done; lint: no problem       2  refused: nothing was changed
  1  failed; lint: a problem      6  waiting for approval: nothing was changed

examples:
  opslib autoscale show fraud
  opslib autoscale set fraud --deployment green --min 3 --max 10 --above 70 --below 30
  opslib autoscale set fraud --deployment green --max 4 --schedule work=Mon,Tue,Wed,Thu,Fri@08:00-18:00/4-10
  opslib autoscale move fraud --from blue --to green       after green has taken the traffic
  opslib autoscale undo fraud --run 20260131T120000Z-autoscale-fraud
"""

_OPTIONS = (
    ("--deployment", "deployment", str, "NAME", "set, remove: what is scaled (default: the one that serves)"),
    ("--from", "move_from", str, "NAME", "move: deployment whose setting is moved (default: the only other one)"),
    ("--to", "deployment", str, "NAME", "move: deployment that gets it (default: the one that serves)"),
    ("--run", "undo_run", str, "RUN", "undo: the run, by its id or part of it (required)"),
    (
        "--setting",
        "setting",
        str,
        "NAME",
        "the setting's name (default: the present one, else autoscale-ENDPOINT-NAME)",
    ),
    ("--min", "min_instances", int, "N", "fewest instances (default: 3)"),
    ("--max", "max_instances", int, "N", "most instances (default: 10)"),
    ("--default", "default_instances", int, "N", "instances while the metric has no data (default: --min)"),
    ("--metric", "metric", str, "NAME", "metric that the rules read (default: CpuUtilizationPercentage)"),
    (
        "--above",
        "scale_out_above",
        float,
        "X",
        "add instances above this value of the metric; percent of CPU (default: 70)",
    ),
    ("--below", "scale_in_below", float, "X", "remove instances below this value (default: 30)"),
    ("--step", "step_instances", int, "N", "instances added or removed at a time (default: 1)"),
    ("--cooldown-min", "cooldown_min", int, "MIN", "minutes until the next change after one (default: 5)"),
    ("--time-zone", "time_zone", str, "ZONE", "time zone of the schedules, by its name in Windows (default: UTC)"),
    ("--policy", "policy", str, "FILE", "the endpoint's policy.yml (default: none)"),
    ("--reason", "reason", str, "TEXT", "why; kept in the record (default: none)"),
)
"""Option, the runbook's parameter, type, placeholder and help."""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Show, check and change the autoscale settings of an endpoint's deployments. A setting targets one\n"
        "deployment: it stays behind when the traffic moves to another one, until it is moved too."
    )
    parser.epilog = EPILOG
    parser.add_argument("action", choices=["show", "lint", *CHANGES], help="what to do")
    parser.add_argument("endpoint", metavar="ENDPOINT", help="the endpoint's name")
    add_target_option(parser)
    parser.add_argument("--json", action="store_true", help="show, lint: print JSON")
    changing = parser.add_argument_group("set, move, remove, undo")
    for option, name, kind, placeholder, text in _OPTIONS:
        changing.add_argument(
            option, dest=name, type=kind, metavar=placeholder, help=text, default=argparse.SUPPRESS
        )
    changing.add_argument(
        "--schedule",
        dest="schedules",
        action="append",
        default=argparse.SUPPRESS,
        metavar="NAME=DAYS@HH:MM-HH:MM/MIN-MAX",
        help="other bounds at some time of the week; repeat it for more",
    )
    changing.add_argument("--dry-run", action="store_true", help="stop after the plan, change nothing")
    add_archive_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show or check the settings, or run the runbook."""
    from opslib.autoscale.lint import lint
    from opslib.azure.connect import connect
    from opslib.azure.endpoints import read_endpoint
    from opslib.azure.rules import read_settings
    from opslib.redaction.redact import redact
    from opslib.runbooks.autoscale import read_lint_facts
    from opslib.runner.own_process import prepare_own_process
    from opslib.show.autoscale import problems_table, settings_table

    if arguments.action in CHANGES:
        names = {name for _, name, *_ in _OPTIONS} | {"action", "endpoint", "target", "schedules", "dry_run"}
        given = {name: value for name, value in vars(arguments).items() if name in names}
        if arguments.own_process:
            prepare_own_process()
        return execute_shown("autoscale", given, archive_of(arguments))
    workspace = connect(arguments.target)
    endpoint = read_endpoint(workspace, arguments.endpoint)
    settings = read_settings(workspace, endpoint)
    if arguments.action == "show":
        rows = [_as_json(one) for one in settings]
        print(
            redact(json.dumps(rows, indent=2)) if arguments.json else settings_table(endpoint.name, settings).text
        )
        return 0
    problems = lint(settings, read_lint_facts(workspace, endpoint, print_aside))
    listed = redact(json.dumps([asdict(one) for one in problems], indent=2))
    print(listed if arguments.json else problems_table(endpoint.name, len(settings), problems).text)
    return 1 if problems else 0


def _as_json(setting: "ScaleSetting") -> dict[str, object]:
    profiles = [asdict(profile) for profile in setting.profiles]
    return {
        "name": setting.name,
        "enabled": setting.enabled,
        "deployment": setting.deployment,
        "target": setting.target,
        "profiles": profiles,
    }
