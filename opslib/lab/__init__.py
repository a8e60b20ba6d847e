"""For a person in JupyterLab: a form for a runbook's parameters, and a live view of a run."""
