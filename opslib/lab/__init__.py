"""For a person in JupyterLab: a form for a runbook's parameters, and a live view of a run."""

from opslib.import_shims import skip_iri_checks

skip_iri_checks()
