"""Which control of common frameworks each piece of a run's evidence serves.

Evidence serves a control: it shows that one change followed it. It does not certify an organization, and an
assessor decides what it is worth. Sources: NIST SP 800-53 Rev. 5; AICPA Trust Services Criteria (2017, points of
focus 2022); ISO/IEC 27001:2022, Annex A; Regulation (EU) 2024/1689 (AI Act).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslib.evidence.run.files import (
    AFTER,
    APPROVALS,
    BEFORE,
    DECISIONS,
    JOURNAL,
    NOTEBOOK,
    PLAN,
    RECORD,
    SEAL,
    VALIDATION,
)

CONTROLS: Mapping[str, Mapping[str, str]] = {
    "NIST SP 800-53 Rev. 5": {
        "AC-6": "Least privilege",
        "AU-2": "Event logging",
        "AU-3": "Content of audit records",
        "AU-9": "Protection of audit information",
        "AU-10": "Non-repudiation",
        "CM-2": "Baseline configuration",
        "CM-3": "Configuration change control",
        "CM-3(2)": "Testing, validation, and documentation of changes",
        "CM-4": "Impact analyses",
        "CM-5": "Access restrictions for change",
        "CP-10": "System recovery and reconstitution",
        "SI-4": "System monitoring",
        "SI-7": "Software, firmware, and information integrity",
    },
    "SOC 2 (TSC 2017)": {
        "CC6.1": "Logical access security",
        "CC7.2": "Monitoring of system components",
        "CC7.4": "Response to incidents",
        "CC8.1": "Authorization, testing, approval of changes",
    },
    "ISO/IEC 27001:2022": {
        "A.5.3": "Segregation of duties",
        "A.5.28": "Collection of evidence",
        "A.8.9": "Configuration management",
        "A.8.15": "Logging",
        "A.8.29": "Security testing in development and acceptance",
        "A.8.32": "Change management",
    },
    "EU AI Act": {"Art. 12": "Record-keeping", "Art. 14": "Human oversight", "Art. 15": "Accuracy and robustness"},
}
"""Title of each control, by framework and identifier."""


@dataclass(frozen=True)
class EvidencePiece:
    """A piece of evidence of a run: the file that holds it, the controls that it serves, and what it shows."""

    file: str
    controls: tuple[str, ...]
    shows: str


PIECES: Sequence[EvidencePiece] = tuple(
    EvidencePiece(file, tuple(controls.split(", ")), shows)
    for file, controls, shows in (
        (RECORD, "AU-3, CM-3, CC8.1, A.8.32", "who requested, approved and ran the change, when, and why"),
        (DECISIONS, "CM-4, CC8.1, A.8.32", "each check before the change, with what was measured"),
        (DECISIONS, "AC-6, CM-5, CC6.1", "the caller's permissions against those that the plan needs"),
        (PLAN, "CM-3, CP-10, A.8.32", "the change, its steps and its undo, before it is applied"),
        (APPROVALS, "CM-3, CM-5, AU-10, CC8.1, A.5.3, Art. 14", "approvals of exactly this plan, signed by people"),
        (VALIDATION, "CM-3(2), CC8.1, A.8.29, Art. 15", "expected answers, scored on this version alone"),
        (DECISIONS, "CM-3(2), SI-4, CC7.2, Art. 15", "each look at live traffic: numbers, limits and verdict"),
        (JOURNAL, "AU-2, AU-3, A.8.15, Art. 12", "every event in order, on disk before the run went on"),
        (BEFORE, "CM-2, A.8.9", "the endpoint before the change, as Azure reported it"),
        (AFTER, "CM-2, A.8.9, CC7.4", "the endpoint after the change, as Azure reported it"),
        (NOTEBOOK, "AU-3, A.5.28, Art. 12", "what was executed, every cell with its output"),
        (SEAL, "AU-9, AU-10, SI-7, A.5.28", "a signature over all files, and a place in a hash chain"),
    )
)


def pieces_of(folder: Path | None) -> Iterator[tuple[EvidencePiece, bool | None]]:
    """Yield each piece, and whether a run's folder has it; None without a folder."""
    for piece in PIECES:
        yield piece, None if folder is None else (folder / piece.file).is_file()


def titled(control: str) -> tuple[str, str]:
    """Return the framework and title of a control.

    >>> titled("CM-3")
    ('NIST SP 800-53 Rev. 5', 'Configuration change control')
    """
    return next((name, titles[control]) for name, titles in CONTROLS.items() if control in titles)


def as_text(folder: Path | None) -> str:
    """Return a table: evidence, file, controls, and for a run whether it is there."""
    marks = {None: "", True: "yes", False: "no"}
    lines = [("there", "file", "controls", "shows")] if folder else [("", "file", "controls", "shows")]
    lines += [
        (marks[there], piece.file, ", ".join(piece.controls), piece.shows) for piece, there in pieces_of(folder)
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    table = ["  ".join([*(f"{line[i]:<{widths[i]}}" for i in range(3) if widths[i]), line[3]]) for line in lines]
    return "\n".join([*table, "", "Evidence serves a control for one change; it does not certify an organization."])


def as_json(folder: Path | None) -> dict[str, Any]:
    """Return the mapping with the names that OSCAL uses in assessment results: observations and their evidence."""
    return {
        "observations": [
            {
                "description": piece.shows,
                "methods": ["EXAMINE"],
                "relevant-evidence": [{"href": piece.file}],
                "collected": there,
                "controls": [
                    {"control-id": control, "framework": titled(control)[0], "title": titled(control)[1]}
                    for control in piece.controls
                ],
            }
            for piece, there in pieces_of(folder)
        ],
        "remarks": "Evidence serves a control for one change; it does not certify an organization.",
    }
