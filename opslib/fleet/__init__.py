"""One runbook on many endpoints: a wave, in batches, within limits, until a rule stops it."""
