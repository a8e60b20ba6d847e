"""The lease that a canary holds on its endpoint: who moves the traffic, where it returns to, and until when.

It is kept in the endpoint's tags and written by the same request that moves the traffic, so that from the first
change on any process can restore the traffic, whichever process died. Pure: tags in, tags out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from opslib.errors import LeaseHeld
from opslib.model import Traffic
from opslib.model.traffic import describe_traffic, read_traffic, write_traffic

Tags = Mapping[str, str]
EditTags = Callable[[Tags], Tags]

PREFIX = "opslib-lease-"
"""Azure takes 50 tags of a resource, names up to 512 and values up to 256 characters. Source: "Use tags to organize
your Azure resources"."""

_NAMES = tuple(PREFIX + name for name in ("change", "owner", "returns-to", "holds", "deadline"))


@dataclass(frozen=True)
class Lease:
    """A change under way.

    `change` is the run's id, `owner` its principal and host; `returns_to` is the traffic before, `holds` the
    traffic that the change has set, `deadline` the time from which any process may restore it [UTC]. `mirrors` is
    the mirrored traffic that the change has set; it had none before.
    """

    change: str
    owner: str
    returns_to: Traffic
    holds: Traffic
    deadline: datetime
    mirrors: Traffic = field(default_factory=dict)

    def expired(self, now: datetime) -> bool:
        """Return whether the deadline has passed: no process watches the canary any more."""
        return now >= self.deadline

    def tags(self) -> dict[str, str]:
        """The lease as tags."""
        return {
            f"{PREFIX}change": self.change,
            f"{PREFIX}owner": self.owner[:256],
            f"{PREFIX}returns-to": write_traffic(self.returns_to),
            f"{PREFIX}holds": write_traffic(self.holds),
            f"{PREFIX}deadline": self.deadline.astimezone(UTC).isoformat(timespec="seconds"),
            **({f"{PREFIX}mirrors": write_traffic(self.mirrors)} if self.mirrors else {}),
        }


def read_lease(tags: Tags) -> Lease | None:
    """Read the lease from an endpoint's tags; None where there is none, or where it is damaged (`damage_of`)."""
    try:
        return Lease(
            change=tags[f"{PREFIX}change"],
            owner=tags[f"{PREFIX}owner"],
            returns_to=read_traffic(tags[f"{PREFIX}returns-to"]),
            holds=read_traffic(tags[f"{PREFIX}holds"]),
            deadline=_read_time(tags[f"{PREFIX}deadline"]),
            mirrors=read_traffic(tags.get(f"{PREFIX}mirrors", "")),
        )
    except (KeyError, ValueError):
        return None


def damage_of(tags: Tags) -> str:
    """Describe a lease that cannot be read, as after an edit of some of its tags; empty for any other tags."""
    left = lease_tags(tags)
    if not left or read_lease(tags) is not None:
        return ""
    seen = ", ".join(f"{name}={value}" for name, value in sorted(left.items()))
    return f"the endpoint's tags hold a lease that cannot be read: {seen}; expected {', '.join(_NAMES)}"


def lease_tags(tags: Tags) -> dict[str, str]:
    """Return the tags of a lease alone."""
    return {name: value for name, value in tags.items() if name.startswith(PREFIX)}


def _read_time(text: str) -> datetime:
    """Read a time; one without an offset, as a person may write it, is UTC."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def acquire(lease: Lease) -> EditTags:
    """Return an edit that writes a lease, or renews one that this change holds.

    The edit raises `LeaseHeld` if another change holds one, expired or not: an expired one is reaped first.
    """

    def edit(tags: Tags) -> Tags:
        held = read_lease(tags)
        if held is not None and held.change != lease.change:
            raise LeaseHeld(describe(held))
        return {**_without(tags), **lease.tags()}

    return edit


def renew(lease: Lease) -> EditTags:
    """Return an edit that extends a lease this change still holds; raises `LeaseHeld` if it was lost."""

    def edit(tags: Tags) -> Tags:
        held = read_lease(tags)
        if held is None or held.change != lease.change:
            seen = "the endpoint has no lease" if held is None else describe(held)
            raise LeaseHeld(f"the lease of {lease.change} was lost: {seen}. The run may no longer move the traffic")
        return {**_without(tags), **lease.tags()}

    return edit


def release(change: str) -> EditTags:
    """Return an edit that removes a change's lease; another change's lease is left alone."""

    def edit(tags: Tags) -> Tags:
        held = read_lease(tags)
        if held is not None and held.change != change:
            return tags
        return _without(tags)

    return edit


def _without(tags: Tags) -> dict[str, str]:
    return {name: value for name, value in tags.items() if not name.startswith(PREFIX)}


def describe(lease: Lease) -> str:
    """Describe a lease for people."""
    until = lease.deadline.astimezone(UTC)
    return (
        f"{lease.owner} holds the lease for {lease.change} until {until:%Y-%m-%d %H:%M:%S} UTC; "
        f"the traffic before was {describe_traffic(lease.returns_to)}"
    )
