"""Load written DAGs with Airflow itself, which is too large for the tests' own environment.

python3 -m venv airflow-venv && airflow-venv/bin/pip install apache-airflow
opslib pipeline airflow fraud
AIRFLOW_HOME=$(mktemp -d) airflow-venv/bin/python tests/contract/airflow_dagbag.py dags/
"""

import sys

from airflow.dag_processing.dagbag import DagBag


def main(folder: str) -> int:
    """Print each DAG's tasks; return 1 if one cannot be loaded, or the release lacks a gate."""
    bag = DagBag(folder)
    for name, dag in bag.dags.items():
        print(name, " -> ".join(task.task_id for task in dag.topological_sort()))
    for problem in bag.import_errors.values():
        print(problem, file=sys.stderr)
    releases = [dag for name, dag in bag.dags.items() if name.endswith("-release")]
    gated = all(dag.get_task("canary").skip_on_exit_code == [6] for dag in releases)
    return 0 if releases and gated and not bag.import_errors else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
