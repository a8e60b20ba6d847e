"""Load the DAG of a wave with Airflow itself, which is too large for the tests' own environment.

With a sandbox, and endpoints that wave.yml selects:

python3 -m venv airflow-venv && airflow-venv/bin/pip install apache-airflow
opslib fleet run wave.yml --on airflow
export AIRFLOW_HOME=$(mktemp -d) AIRFLOW__CORE__DAGS_FOLDER=$PWD/dags OPSLIB_REPOSITORY=$PWD
airflow-venv/bin/airflow db migrate && airflow-venv/bin/python tests/contract/airflow_wave.py dags/
airflow-venv/bin/airflow dags test wave-NAME
"""

import sys

from airflow.dag_processing.dagbag import DagBag


def main(folder: str) -> int:
    """Print each DAG's tasks; return 1 if one cannot be loaded, or a wave has no mapped task."""
    bag = DagBag(folder)
    for problem in bag.import_errors.values():
        print(problem, file=sys.stderr)
    waves = {name: dag for name, dag in bag.dags.items() if name.startswith("wave-")}
    for name, dag in waves.items():
        print(name, " -> ".join(task.task_id for task in dag.topological_sort()))
    mapped = all(any(task.is_mapped for task in dag.tasks) for dag in waves.values())
    return 0 if waves and mapped and not bag.import_errors else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
