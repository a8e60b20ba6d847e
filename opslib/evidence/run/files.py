"""The names of the files in an archive and in a run's folder."""

REPORT = "report.html"
