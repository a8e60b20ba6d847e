"""Files of approvals: one that is named must be valid, those of a folder count where they are."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from opslib.errors import ParameterError
from opslib.evidence.run.record import Approval
from opslib.evidence.signing.revocation import PREFIX


@dataclass(frozen=True)
class ApprovalFiles:
    """What the files hold.

    Attributes
    ----------
    claims
        Unsigned approvals: recorded, never counted.
    signed
        Envelopes of the files that were named.
    offered
        Envelopes of the folders that were named.
    revocations
        Envelopes of revocations in those folders, and beside those files.
    """

    claims: tuple[Approval, ...]
    signed: tuple[str, ...]
    offered: tuple[str, ...]
    revocations: tuple[str, ...]


def read_approvals(paths: Iterable[Path]) -> ApprovalFiles:
    """Read approvals from files and folders.

    Raises
    ------
    ParameterError
        If a file that was named is not an approval, or a path does not exist.
    """
    claims, signed, offered, revocations = [], [], [], dict[str, None]()
    for path in paths:
        folder = path if path.is_dir() else path.parent
        revocations |= dict.fromkeys(_read(found) for found in sorted(folder.glob(f"{PREFIX}*.json")))
        if path.is_dir():
            files = [file for file in sorted(path.glob("*.json")) if not file.name.startswith(PREFIX)]
            offered += [text for text in map(_read, files) if _is_envelope(text)]
            continue
        text = _read(path)
        if _is_envelope(text):
            signed.append(text)
        else:
            claims.append(_claim(path, text))
    return ApprovalFiles(tuple(claims), tuple(signed), tuple(offered), tuple(revocations))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"the approval {path} cannot be read: {error}") from error


def _is_envelope(text: str) -> bool:
    try:
        return "signatures" in json.loads(text)
    except (ValueError, TypeError):
        return False


def _claim(path: Path, text: str) -> Approval:
    try:
        return Approval(**json.loads(text) | {"expires": "", "keyid": ""})
    except (ValueError, TypeError) as error:
        raise ParameterError(
            f"{path} is not a valid approval file: expected what `opslib approve` writes, or "
            f'{{"who", "at", "meaning", "plan_sha256"}}, got {error}'
        ) from error
