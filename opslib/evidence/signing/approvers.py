"""The approvers: whose signatures on plans count.

They are in the file that ``OPSLIB_APPROVERS`` names (several files are separated as in ``PATH``), else in
``approvers.pem`` and ``allowed_signers`` of the settings. A file has one of two formats: public keys in PEM, each
with a line ``who: NAME`` above it; or the allowed signers of ``ssh-keygen -Y`` (its manual, "ALLOWED SIGNERS").
"""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from opslib.errors import RecordError
from opslib.evidence.signing import dsse, sshsig
from opslib.evidence.signing.key_files import APPROVERS, config_folder
from opslib.evidence.signing.public_keys import PublicKey, read_public_keys

VARIABLE = "OPSLIB_APPROVERS"

_WORD = re.compile(r'(?:"[^"]*"|[^\s"])+')
_OPTIONS = re.compile(r'([a-z-]+)(?:="([^"]*)")?(?:,|$)', re.IGNORECASE)
_TIME = re.compile(r"(\d{8})(\d{4})?(\d{2})?(Z)?")


def find_approvers() -> dsse.PublicKeys:
    """Return the approvers' public keys; empty if no file of approvers exists.

    Raises
    ------
    RecordError
        If a file cannot be read, or a key in it has no name.
    """
    configured = os.environ.get(VARIABLE)
    paths = [Path(name) for name in (configured or "").split(os.pathsep) if name]
    if not configured:
        paths = [config_folder() / name for name in APPROVERS if (config_folder() / name).exists()]
    found: dict[str, PublicKey] = {}
    for path in paths:
        found |= _read(path)
    return found


def read_allowed_signers(path: Path) -> dict[str, PublicKey]:
    """Read a file of allowed signers; the first principal of a line is the person's name.

    Raises
    ------
    RecordError
        If a line cannot be used: it has a pattern or a certificate authority instead of one person, or an unknown
        option or key type; or one person would be two.
    """
    keys: dict[str, PublicKey] = {}
    person_of: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            found = _read_line(line)
            for name in _principals(line) if found else ():
                if person_of.setdefault(name.casefold(), found[1].who) != found[1].who:  # type: ignore[index]
                    raise RecordError(f"{name} is a name of {person_of[name.casefold()]} too: put one name first")
        except (RecordError, ValueError) as error:
            raise RecordError(f"{path}:{number}: {error}") from error
        if found:
            keys[found[0]] = found[1]
    return keys


def _read(path: Path) -> dict[str, PublicKey]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"the approvers' file {path} cannot be read: {error}") from error
    if "-----BEGIN" not in text:
        return read_allowed_signers(path)
    approvers = read_public_keys([path])
    if not all(known.who for known in approvers.values()):
        raise RecordError(f"{path} contains a key without a `who:` line; expected `who: NAME` above each PEM")
    return approvers


def _principals(line: str) -> list[str]:
    first: str = _WORD.findall(line)[0]
    return first.strip('"').split(",")


def _read_line(line: str) -> tuple[str, PublicKey] | None:
    """Return id and key of one line; None where the key is not for approvals."""
    first, *rest = _WORD.findall(line)
    names = _principals(line)
    if any(mark in name for name in names for mark in "*?!"):
        raise RecordError(f"{first} is a pattern. An approver is one person: write their name")
    place = next((n for n, word in enumerate(rest) if word in sshsig.KEY_TYPES), None)
    if place is None or len(rest) < place + 2:
        raise RecordError(f"no key of a supported type; expected one of {', '.join(sshsig.KEY_TYPES)}")
    options = dict(_read_options("".join(rest[:place])))
    namespaces = options.pop("namespaces", "")
    if namespaces and not any(fnmatchcase(sshsig.NAMESPACE, one) for one in namespaces.split(",")):
        return None
    key = sshsig.read_key(rest[place], rest[place + 1])
    known = PublicKey(key.key, who=names[0], ssh=key)
    if "valid-after" in options:
        known = replace(known, not_before=_time(options.pop("valid-after")))
    if "valid-before" in options:
        known = replace(known, not_after=_time(options.pop("valid-before")))
    if options:
        raise RecordError(f"option {', '.join(options)} is not supported for an approver")
    return key.id, known


def _read_options(text: str) -> Iterator[tuple[str, str]]:
    """Yield names and values of a line's options, such as ``valid-before="20270101"``."""
    while text:
        found = _OPTIONS.match(text)
        if found is None:
            raise RecordError(f"options cannot be read: {text}")
        yield found[1].lower(), found[2] or ""
        text = text[found.end() :]


def _time(text: str) -> datetime:
    """Read a time as ssh writes it, YYYYMMDD[HHMM[SS]][Z]: without Z in this machine's time zone."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise RecordError(f"{text!r} is not a time, expected YYYYMMDD[HHMM[SS]][Z]")
    time = datetime.strptime(f"{found[1]}{found[2] or '0000'}{found[3] or '00'}", "%Y%m%d%H%M%S")  # noqa: DTZ007
    return time.replace(tzinfo=UTC) if found[4] else time.astimezone()
