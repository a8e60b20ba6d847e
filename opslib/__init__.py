"""opslib."""
