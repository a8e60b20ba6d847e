"""The files of a pipeline, from the templates in `templates/`.

Jinja with delimiters of its own, because `${{ }}` is the systems' own. Jinja is what nbconvert renders the report
with; its `indent` filter keeps a step's lines in their YAML block.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opslib.pipelines.release import Release
from opslib.pipelines.steps import GATES, RUN_LIMIT_S, release_steps, watch_steps

TEMPLATES = Path(__file__).parent / "templates"

FILES: Mapping[str, Mapping[str, str]] = {
    "github": {
        ".github/workflows/{}-release.yml": "github-release.yml.j2",
        ".github/workflows/{}-watch.yml": "github-watch.yml.j2",
    },
    "azure-devops": {
        "azure-pipelines/{}-release.yml": "azure-devops-release.yml.j2",
        "azure-pipelines/{}-watch.yml": "azure-devops-watch.yml.j2",
    },
    "azureml": {
        "azureml/{}-release.yml": "azureml-release.yml.j2",
        "azureml/{}-canary.yml": "azureml-canary.yml.j2",
        "azureml/{}-sweep.yml": "azureml-sweep.yml.j2",
        "azureml/{}-drift.yml": "azureml-drift.yml.j2",
        "azureml/{}-sweep-schedule.yml": "azureml-sweep-schedule.yml.j2",
        "azureml/{}-drift-schedule.yml": "azureml-drift-schedule.yml.j2",
        "azureml/{}-conda.yml": "azureml-conda.yml.j2",
    },
    "airflow": {"dags/{}_release.py": "airflow.py.j2"},
}
"""Each system's files, and the template of each; `{}` is the endpoint's name."""


def render_pipeline(system: str, release: Release) -> Mapping[str, str]:
    """Return the files of a pipeline, by path relative to the root of the repository."""
    values = {
        "release": release,
        "gates": GATES,
        "limit_min": RUN_LIMIT_S // 60 + 20,
        "steps": release_steps(release),
        "watch": watch_steps(release),
    }
    return {path.format(release.endpoint): render(template, values) for path, template in FILES[system].items()}


def render(template: str, values: Mapping[str, Any]) -> str:
    """Return a template of `templates/` with its values."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - only these commands need it

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - YAML and Python, no HTML
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        variable_start_string="<{",
        variable_end_string="}>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
    return environment.get_template(template).render(values)
