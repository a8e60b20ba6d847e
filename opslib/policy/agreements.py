"""Whether enough people have agreed to a plan, by the endpoint's policy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from opslib.policy.policy import ApprovalRule, Roles


@dataclass(frozen=True)
class Agreement:
    """A person's agreement to the plan of this run.

    Attributes
    ----------
    who, given_at
        The person, and when they agreed.
    signed
        Whether a known key signed it.
    keyid
        That key.
    objection
        Why it does not count whatever the policy requires, such as another plan; empty where nothing is wrong.
    """

    who: str
    given_at: datetime
    signed: bool
    keyid: str = ""
    objection: str = ""


@dataclass(frozen=True)
class AgreementCount:
    """How many agreements count, and why the others do not.

    Attributes
    ----------
    who
        People whose agreement counts, each once.
    rejected
        A sentence for each that does not count.
    needed
        How many the policy requires.
    lacking
        People or roles that must be among them and are not.
    """

    who: tuple[str, ...]
    rejected: tuple[str, ...]
    needed: int
    lacking: tuple[str, ...] = ()

    @property
    def enough(self) -> bool:
        """Whether the plan may be applied."""
        return len(self.who) >= self.needed and not self.lacking

    def __str__(self) -> str:
        """One line: how many count, whose, who is lacking, and why others do not count."""
        given = f"{len(self.who)} of {self.needed} approvals"
        parts = [f"{given}: {', '.join(self.who)}" if self.who else given]
        parts += [f"lacking {name}" for name in self.lacking]
        return "; ".join([*parts, *self.rejected])


def count_agreements(
    rule: ApprovalRule, agreements: Sequence[Agreement], now: datetime, roles: Roles | None = None
) -> AgreementCount:
    """Count the agreements that satisfy a policy's rule: signed, by the named people, not too old, one per person.

    A person with two keys counts once, and so does a key that two names use.
    """
    roles = roles or {}
    counted: dict[str, Agreement] = {}
    rejected = []
    for one in agreements:
        objection = one.objection or _objection(rule, one, now, roles)
        if objection:
            rejected.append(f"{one.who}: {objection}")
        elif one.keyid and any(one.keyid == other.keyid and one.who != other.who for other in counted.values()):
            rejected.append(f"{one.who}: signed by a key that another approval used")
        else:
            counted.setdefault(one.who.casefold(), one)
    who = tuple(one.who for one in counted.values())
    lacking = tuple(name for name in rule.including if not set(roles.get(name, (name,))) & set(who))
    return AgreementCount(who, tuple(rejected), rule.count, lacking)


def describe_rule(rule: ApprovalRule, roles: Mapping[str, Sequence[str]]) -> str:
    """Describe whose approvals a rule requires.

    >>> rule = ApprovalRule(count=2, of=("clinical-lead", "ann"), including=("clinical-lead",))
    >>> describe_rule(rule, {"clinical-lead": ("eve", "joe")})
    '2 approvals, of clinical-lead (eve, joe), ann, including clinical-lead (eve, joe), each valid for 24 h'
    """
    of = f", of {_named(rule.of, roles)}" if rule.of else ""
    including = f", including {_named(rule.including, roles)}" if rule.including else ""
    count = f"{rule.count} approval{'' if rule.count == 1 else 's'}"
    return f"{count}{of}{including}, each valid for {rule.valid_h:g} h"


def _named(names: Sequence[str], roles: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(f"{name} ({', '.join(roles[name])})" if name in roles else name for name in names)


def _objection(rule: ApprovalRule, one: Agreement, now: datetime, roles: Roles) -> str:
    """Return why an agreement does not count by the rule; empty where it does."""
    age, people = now - one.given_at, rule.people(roles)
    if not one.signed:
        return "not signed"
    if rule.of and one.who not in people:  # a role without people is no permission for everybody
        return f"not among {', '.join(people) or ', '.join(rule.of)}"
    if age > timedelta(hours=rule.valid_h):
        return f"{age.total_seconds() / 3600:.1f} h old, valid for {rule.valid_h:g} h"
    return ""
