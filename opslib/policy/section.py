"""What every part of the policy file is made of."""

from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

Text = Annotated[str, Field(min_length=1, max_length=500)]


class Section(BaseModel):
    """A part of the policy: unknown fields are refused, values do not change."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)


def _to_moment(value: Any) -> Any:
    """Read a date as its first moment, and a time without a zone as UTC.

    A number is refused: pydantic would take 20261220 for seconds since 1970.
    """
    if isinstance(value, date):
        value = value.isoformat()
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise ValueError("expected a date or a time such as 2026-12-20 or 2026-12-20T18:00:00+01:00") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Moment = Annotated[AwareDatetime, BeforeValidator(_to_moment)]
