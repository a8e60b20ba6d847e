"""`opslib autoscale`: show, check, create and move the autoscale settings of an endpoint's deployments."""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from opslib.autoscale.change import Bounds, RulePair, make_body, read_schedule
from opslib.autoscale.lint import lint
from opslib.autoscale.plan import AutoscalePlan, plan_create, plan_move, read_undo
from opslib.autoscale.setting import ScaleSetting
from opslib.azure.autoscale import read_settings
from opslib.azure.connect import Workspace, connect
from opslib.azure.endpoints import read_endpoint
from opslib.cli.output import print_aside
from opslib.cli.target_option import add_target_option
from opslib.errors import ParameterError, PlanError
from opslib.model import Endpoint
from opslib.redaction.redact import redact
from opslib.runbooks.autoscale import apply_plan, check_plan, read_lint_facts
from opslib.show.autoscale import problems_table, settings_table

EPILOG = """\
create, move and undo write a file with both states and the undo before they change anything. `undo FILE` goes back.
show and lint need a reader's role.

exit codes:
  0  done; lint: no problem       2  refused: nothing was changed
  1  failed; lint: a problem

examples:
  opslib autoscale show fraud
  opslib autoscale create fraud --deployment green --min 3 --max 10 --above 70 --below 30
  opslib autoscale create fraud --deployment green --max 4 --schedule work=Mon,Tue,Wed,Thu,Fri@08:00-18:00/4-10
  opslib autoscale move fraud --from blue --to green       after green has taken the traffic
  opslib autoscale undo autoscale-fraud-20260131T120000Z.json
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Show, check, create and move the autoscale settings of an endpoint's deployments. A setting targets one\n"
        "deployment: it stays behind when the traffic moves to another one, until it is moved too."
    )
    parser.epilog = EPILOG
    parser.add_argument("action", choices=[*_ACTIONS, "undo"], help="what to do")
    parser.add_argument("name", metavar="ENDPOINT", help="the endpoint's name; undo: the file of a change")
    add_target_option(parser)
    parser.add_argument("--json", action="store_true", help="show, lint: print JSON")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, change nothing")
    parser.add_argument("--reason", default="", help="why; kept in the file of the change")
    parser.add_argument(
        "--file", type=Path, metavar="FILE", help="file of the change (default: autoscale-NAME-TIME.json)"
    )
    moving = parser.add_argument_group("move")
    moving.add_argument(
        "--from", dest="source", default="", metavar="NAME", help="deployment whose setting is moved"
    )
    moving.add_argument(
        "--to", default="", metavar="NAME", help="deployment that gets it (default: the one that serves)"
    )
    making = parser.add_argument_group("create")
    making.add_argument(
        "--deployment", default="", metavar="NAME", help="deployment to scale (default: the one that serves)"
    )
    making.add_argument(
        "--setting", default="", metavar="NAME", help="the setting's name (default: autoscale-ENDPOINT-NAME)"
    )
    making.add_argument("--min", type=int, default=3, metavar="N", help="fewest instances (default: 3)")
    making.add_argument("--max", type=int, default=10, metavar="N", help="most instances (default: 10)")
    making.add_argument("--default", type=int, metavar="N", help="instances without metrics (default: --min)")
    making.add_argument(
        "--metric",
        default="CpuUtilizationPercentage",
        help="what the rules read (default: CpuUtilizationPercentage)",
    )
    making.add_argument("--above", type=float, default=70.0, metavar="X", help="adds instances above (default: 70)")
    making.add_argument(
        "--below", type=float, default=30.0, metavar="X", help="removes instances below (default: 30)"
    )
    making.add_argument("--step", type=int, default=1, metavar="N", help="instances per action (default: 1)")
    making.add_argument(
        "--cooldown-min", type=int, default=5, metavar="MIN", help="rest after an action (default: 5)"
    )
    making.add_argument(
        "--schedule",
        action="append",
        default=[],
        metavar="NAME=DAYS@HH:MM-HH:MM/MIN-MAX",
        help="other bounds at some time of the week; repeat it for more",
    )
    making.add_argument("--time-zone", default="UTC", help='of the schedules, by Windows\' names (default: "UTC")')


def run(arguments: argparse.Namespace) -> int:
    """Do what is wanted."""
    workspace = connect(arguments.target)
    if arguments.action == "undo":
        path = Path(arguments.name)
        if not path.is_file():
            raise ParameterError(f"{path} does not exist; undo takes the file that create or move wrote")
        return _carry_out(arguments, workspace, read_undo(path.read_text(encoding="utf-8"), str(path)))
    endpoint = read_endpoint(workspace, arguments.name)
    return _ACTIONS[arguments.action](arguments, workspace, endpoint, read_settings(workspace, endpoint))


Settings = tuple[ScaleSetting, ...]


def _show(arguments: argparse.Namespace, _: Workspace, endpoint: Endpoint, settings: Settings) -> int:
    if arguments.json:
        print(redact(json.dumps([_as_json(one) for one in settings], indent=2)))
    else:
        print(settings_table(endpoint.name, settings).text)
    return 0


def _as_json(setting: ScaleSetting) -> dict[str, object]:
    profiles = [asdict(profile) for profile in setting.profiles]
    return {
        "name": setting.name,
        "enabled": setting.enabled,
        "deployment": setting.deployment,
        "target": setting.target,
        "profiles": profiles,
    }


def _lint(arguments: argparse.Namespace, workspace: Workspace, endpoint: Endpoint, settings: Settings) -> int:
    problems = lint(settings, read_lint_facts(workspace, endpoint, print_aside))
    if arguments.json:
        print(redact(json.dumps([asdict(one) for one in problems], indent=2)))
    else:
        print(problems_table(endpoint.name, len(settings), problems).text)
    return 1 if problems else 0


def _create(arguments: argparse.Namespace, workspace: Workspace, endpoint: Endpoint, settings: Settings) -> int:
    a = arguments
    name = a.deployment or endpoint.stable or ""
    found = endpoint.find(name)
    if found is None:
        raise PlanError(f"deployment {name!r} does not exist; the endpoint has: {endpoint.deployment_names()}")
    bounds = Bounds(a.min, a.max, a.min if a.default is None else a.default)
    pair = RulePair(a.metric, a.above, a.below, a.step, cooldown_min=a.cooldown_min)
    schedules = [read_schedule(one, a.time_zone) for one in a.schedule]
    body = make_body(str(endpoint.arm["location"]), found.id, bounds, [pair], schedules)
    setting = a.setting or f"autoscale-{endpoint.name}-{found.name}"
    plan = plan_create(endpoint, found.name, setting, body, settings)
    return _carry_out(arguments, workspace, plan, endpoint)


def _move(arguments: argparse.Namespace, workspace: Workspace, endpoint: Endpoint, settings: Settings) -> int:
    to = arguments.to or endpoint.stable or ""
    behind = [one.deployment for one in settings if one.deployment.lower() != to.lower()]
    if not arguments.source and len(behind) != 1:
        raise ParameterError(
            f"--from: name the deployment whose setting is moved, of: {', '.join(behind) or 'none'}"
        )
    return _carry_out(
        arguments, workspace, plan_move(endpoint, arguments.source or behind[0], to, settings), endpoint
    )


def _carry_out(
    arguments: argparse.Namespace, workspace: Workspace, plan: AutoscalePlan, endpoint: Endpoint | None = None
) -> int:
    """Print the plan and its problems, and carry it out unless it is a dry run."""
    for title, steps in (("step", plan.steps), ("undo", plan.undo.steps)):
        for number, step in enumerate(steps, start=1):
            print(f"{title} {number}: {step}")
    if endpoint is not None:
        for one in check_plan(plan, read_lint_facts(workspace, endpoint, print_aside)):
            print(f"{one.severity}: {one.rule}: {one.evidence}. {one.fix}")
    if arguments.dry_run:
        print("dry run: nothing was changed")
        return 0
    file = arguments.file or Path(f"autoscale-{plan.endpoint}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json")
    if file.exists():
        raise ParameterError(f"{file} exists; it is not overwritten. Pass --file with another name")
    apply_plan(workspace, plan, file, arguments.reason, print)
    print(f"both states and the undo are in {file}: opslib autoscale undo {file}")
    return 0


_ACTIONS: Mapping[str, Callable[[argparse.Namespace, Workspace, Endpoint, Settings], int]] = {
    "show": _show,
    "lint": _lint,
    "create": _create,
    "move": _move,
}
