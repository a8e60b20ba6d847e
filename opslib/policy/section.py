"""What every part of the policy file is made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1, max_length=500)]


class Section(BaseModel):
    """A part of the policy: unknown fields are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
