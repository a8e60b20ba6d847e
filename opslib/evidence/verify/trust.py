"""What a verification trusts: keys kept outside the archive, else the archive's own; approvers; an authority."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from opslib.errors import RecordError
from opslib.evidence.run.files import KEYS
from opslib.evidence.signing import dsse
from opslib.evidence.signing.approvers import find_approvers
from opslib.evidence.signing.findings import VerifyFinding, tampered, unknown_key
from opslib.evidence.signing.keys import own_key_id
from opslib.evidence.signing.public_keys import PublicKey, pinned_keys, public_pem, read_public_keys
from opslib.evidence.signing.timestamping import read_certificates
from opslib.evidence.verify.baseline import trust_digest
from opslib.evidence.verify.verify_ledger import Opened


@dataclass(frozen=True)
class Trust:
    """What a verification trusts; `pinned` is whether the keys were kept outside the archive."""

    keys: dsse.PublicKeys
    approvers: dsse.PublicKeys
    tsa: Path | None
    pinned: bool

    def digest(self) -> str:
        """Return the digest of all of it."""
        return trust_digest(self.keys, self.approvers, [self.tsa])


def find_trust(archive: Path, given: Path | None, tsa: Path | None) -> tuple[Trust, list[VerifyFinding]]:
    """Return what is trusted, and findings on the archive's keys.

    Parameters
    ----------
    given
        File of trusted public keys (PEM). By default this user's trusted keys; without them, the archive's own.
    tsa
        Certificates of the time stamp authority (PEM).

    Raises
    ------
    RecordError
        If a file that was given cannot be used.
    """
    if tsa:
        read_certificates(tsa)  # one that cannot be used must not pass for a wrong token
    listed: dict[str, PublicKey] = {}
    findings: list[VerifyFinding] = []
    for path in sorted((archive / KEYS).glob("*")):
        name = f"{KEYS}/{path.name}"
        try:
            one = read_public_keys([path]) if not path.is_symlink() else {}
        except RecordError as error:
            findings.append(tampered(str(error), file=name))
            continue
        exact = [public_pem(known.key).encode() for known in one.values()]
        if exact != [path.read_bytes()] or f"{next(iter(one))}.pem" != path.name:
            findings.append(tampered("not the key that the file name identifies", file=name))
        else:
            listed |= one
    apart = [given] if given else pinned_keys()
    trusted = read_public_keys(apart) if apart else listed
    strangers = sorted(listed.keys() - trusted.keys())
    findings += [unknown_key("a key in the archive that is not trusted", file=_key_file(k)) for k in strangers]
    own = {own_key_id()} if not apart else set()
    return Trust(trusted, find_approvers(), tsa, bool(apart) or trusted.keys() <= own), findings


def unlisted_keys(archive: Path, opened: Sequence[Opened], trust: Trust) -> Iterator[VerifyFinding]:
    """Yield findings on keys that signed checkpoints and are missing from the archive."""
    used = {keyid for one in opened for keyid in one.signers}
    for keyid in sorted(used & trust.keys.keys()):
        if not (archive / _key_file(keyid)).is_file():
            yield tampered("removed, although checkpoints are signed by this key", file=_key_file(keyid))


def _key_file(keyid: str) -> str:
    return f"{KEYS}/{keyid}.pem"
