"""VM sizes that managed online endpoints offer, and what they cost in quota.

Source: MicrosoftDocs, reference-managed-online-endpoints-vm-sku-list.md (sizes, and the column "Skip 20 %
Reservation"); vCPU and memory from the VM size pages. A selection, not the whole list.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Sku:
    """One VM size."""

    name: str
    family: str
    cores: int
    memory_gb: float
    gpus: int = 0
    exempt: bool = False  # from the 20 % reserve for upgrades

    def cores_needed(self, instances: int) -> int:
        """Return the quota that a deployment takes [vCPU].

        ceil(1.2 x instances) x cores per instance: 20 % is reserved for upgrades, exempt sizes aside.
        Source: MicrosoftDocs, includes/quota-allocation-online-deployment.md.

        Examples
        --------
        >>> Sku("Standard_F4s_v2", "standardFSv2Family", 4, 8).cores_needed(1)
        8
        """
        reserved = instances if self.exempt else math.ceil(instances * 6 / 5)
        return reserved * self.cores


_ROWS: tuple[tuple[str, str, int, float, int, bool], ...] = (
    ("Standard_DS1_v2", "standardDSv2Family", 1, 3.5, 0, False),
    ("Standard_DS2_v2", "standardDSv2Family", 2, 7, 0, False),
    ("Standard_DS3_v2", "standardDSv2Family", 4, 14, 0, False),
    ("Standard_DS4_v2", "standardDSv2Family", 8, 28, 0, False),
    ("Standard_DS5_v2", "standardDSv2Family", 16, 56, 0, False),
    ("Standard_F2s_v2", "standardFSv2Family", 2, 4, 0, False),
    ("Standard_F4s_v2", "standardFSv2Family", 4, 8, 0, False),
    ("Standard_F8s_v2", "standardFSv2Family", 8, 16, 0, False),
    ("Standard_F16s_v2", "standardFSv2Family", 16, 32, 0, False),
    ("Standard_F32s_v2", "standardFSv2Family", 32, 64, 0, False),
    ("Standard_E2s_v3", "standardESv3Family", 2, 16, 0, False),
    ("Standard_E4s_v3", "standardESv3Family", 4, 32, 0, False),
    ("Standard_E8s_v3", "standardESv3Family", 8, 64, 0, False),
    ("Standard_E16s_v3", "standardESv3Family", 16, 128, 0, False),
    ("Standard_D2a_v4", "standardDAv4Family", 2, 8, 0, False),
    ("Standard_D4a_v4", "standardDAv4Family", 4, 16, 0, False),
    ("Standard_D8a_v4", "standardDAv4Family", 8, 32, 0, False),
    ("Standard_NC4as_T4_v3", "standardNCASv3_T4Family", 4, 28, 1, False),
    ("Standard_NC6s_v3", "standardNCSv3Family", 6, 112, 1, False),
    ("Standard_NC24ads_A100_v4", "standardNCADSA100v4Family", 24, 220, 1, True),
    ("Standard_NC48ads_A100_v4", "standardNCADSA100v4Family", 48, 440, 2, True),
    ("Standard_NC96ads_A100_v4", "standardNCADSA100v4Family", 96, 880, 4, True),
    ("Standard_NC40ads_H100_v5", "standardNCadsH100v5Family", 40, 320, 1, True),
    ("Standard_NC80adis_H100_v5", "standardNCadsH100v5Family", 80, 640, 2, True),
    ("Standard_ND96amsr_A100_v4", "standardNDAMSv4_A100Family", 96, 1900, 8, True),
    ("Standard_ND96asr_v4", "standardNDASv4_A100Family", 96, 900, 8, True),
    ("Standard_ND40rs_v2", "standardNDSv2Family", 40, 672, 8, True),
    ("Standard_ND96isr_H100_v5", "standardNDSH100v5Family", 96, 1900, 8, True),
)
SKUS = {row[0].lower(): Sku(*row) for row in _ROWS}


def find(name: str) -> Sku | None:
    """Return a VM size by its name, in whatever case."""
    return SKUS.get(name.lower())


def described(family: str) -> str:
    """Return a VM family's name in words, as usages show it.

    Examples
    --------
    >>> described("standardFSv2Family")
    'Standard FSv2 Family Cluster Dedicated vCPUs'
    """
    return f"Standard {family.removeprefix('standard').removesuffix('Family')} Family Cluster Dedicated vCPUs"


def families() -> list[str]:
    """Return every VM family once, in order."""
    return sorted({sku.family for sku in SKUS.values()})
