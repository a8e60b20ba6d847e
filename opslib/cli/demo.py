"""`opslib demo`: a whole release on the sandbox, or one of three companies' scenarios."""

import argparse
from pathlib import Path

from opslib.cli.archive_option import add_archive_option, archive_of
from opslib.demo.scenarios.titles import TITLES
from opslib.errors import ParameterError

EPILOG = """\
scenarios:
{scenarios}

exit codes:
  0  every run ended as it should, and every objective is met
  1  otherwise

examples:
  opslib demo                      # two to four minutes
  opslib demo pinecare             # a scenario, with the table of its objectives
  opslib demo --all --small        # all of them with little traffic, which proves little
  opslib sandbox up && opslib demo --practice harborshield
"""

RUNS = Path("demo-runs")


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Run a whole release on a sandbox of its own, under live traffic: deploy, canary,\n"
        "scale and roll back a good version, then canary a broken one. It takes two to four\n"
        "minutes; the sandbox is deleted at the end.\n\n"
        "With the name of a scenario, run that company's release, and compare what was\n"
        "measured with the limits that it must hold."
    )
    scenarios = "\n".join(f"  {name:<12} {title}" for name, title in TITLES.items())
    parser.epilog = EPILOG.format(scenarios=scenarios)
    parser.add_argument(
        "name", nargs="?", metavar="NAME", choices=[*TITLES], help="scenario to run (default: the short release)"
    )
    add_archive_option(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="run all scenarios, one after the other")
    which.add_argument(
        "--practice",
        type=Path,
        metavar="FOLDER",
        help="build only the demo's production, on the running sandbox, and write its files to this new folder",
    )
    parser.add_argument(
        "--small",
        action="store_true",
        help="a scenario with little traffic; objectives that need more are not measured (default: in full)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the objectives of scenarios as JSON; progress goes to stderr"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the demo or scenarios, or build what the demo starts from.

    Raises
    ------
    ParameterError
        If options contradict each other; nothing was started.
    """
    from opslib.demo.practice import build_practice
    from opslib.demo.release import run_demo
    from opslib.demo.scenarios.catalogue import run_scenarios
    from opslib.demo.scenarios.scenario import Size

    if arguments.name and (arguments.all or arguments.practice):
        raise ParameterError(f"{arguments.name} is given with --all or --practice: expected one of them")
    if arguments.small and not (arguments.all or arguments.name):
        raise ParameterError("--small is given without a scenario: name one, or pass --all")
    if arguments.json and not (arguments.all or arguments.name):
        raise ParameterError("--json is given without a scenario: name one, or pass --all")
    if arguments.all or arguments.name:
        names = list(TITLES) if arguments.all else [arguments.name]
        size = Size.SMALL if arguments.small else Size.FULL
        return run_scenarios(names, arguments.runs or RUNS, size, as_json=arguments.json)
    if not arguments.practice:
        return run_demo(archive_of(arguments))
    build_practice(arguments.practice)
    print(f"Endpoint fraud serves blue (v1). Definitions, probes and requests: {arguments.practice}. Send traffic:")
    print(f"  opslib sandbox traffic fraud --rps 40 --seconds 3600 --body-file {arguments.practice / 'live.jsonl'}")
    return 0
