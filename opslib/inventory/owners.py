"""Who owns each endpoint, from the policies in a tree of folders."""

from dataclasses import dataclass
from pathlib import Path

from opslib.errors import DefinitionError, PolicyError
from opslib.model import Unread
from opslib.policy import FILE
from opslib.policy.reading import read_policy


@dataclass(frozen=True)
class Ownership:
    """The owner of an endpoint, and the policy that names it."""

    team: str
    policy: str


def read_owners(folder: Path) -> tuple[dict[str, Ownership], tuple[Unread, ...]]:
    """Read every ``policy.yml`` in a folder and below it.

    Returns
    -------
    owners, unread
        Owners by endpoint's name in lower case, and the policies that cannot be read.

    Raises
    ------
    DefinitionError
        If there is no such folder.
    """
    if not folder.is_dir():
        raise DefinitionError(
            f"{folder} is not a folder: expected one with an endpoint's folder in it, or below it"
        )
    owners: dict[str, Ownership] = {}
    unread: list[Unread] = []
    for path in sorted(folder.rglob(FILE)):
        try:
            policy = read_policy(path)
        except PolicyError as error:
            unread.append(Unread(f"policy {path}", str(error).splitlines()[0]))
            continue
        owners[policy.endpoint.lower()] = Ownership(policy.owner.team, str(path))
    return owners, tuple(unread)
