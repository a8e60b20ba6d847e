"""A release of a fraud model on the sandbox, and the same production to practise on."""

from opslib.import_shims import skip_iri_checks

skip_iri_checks()
