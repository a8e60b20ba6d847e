"""Quota of a family of instance types."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Quota:
    """Cores of one family of instance types, in one region; a limit of -1 is no limit [vCPU]."""

    family: str
    used: int
    limit: int
