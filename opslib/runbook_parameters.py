"""What the parameters of every runbook share: how they are read, checked and bound to a notebook."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidatorFunctionWrapHandler, field_validator

from opslib.errors import ParameterError
from opslib.parameter_input import describe_problem, injected_names, refuse_secrets
from opslib.redaction.redact import redact
from opslib.target import TARGET

Name = Annotated[str, Field(pattern=r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$", min_length=3, max_length=32)]
"""Name of an endpoint or deployment. Source: the rule that azure-ai-ml checks before it sends a request."""


Seconds = Annotated[float, Field(ge=0, le=86_400)]


_NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
"""A number as a person writes it: YAML 1.1 reads 010 as eight, and 1e-2 as text."""

_OF_AN_HOUR = re.compile(r"[-+]?\d+(?::\d+)+(?:\.\d*)?", re.ASCII)
"""What YAML 1.1 reads as a number to the base of 60: 1:30 as ninety, whatever the unit is."""


class RunbookParameters(BaseModel):
    """Parameters of every runbook."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)

    runbook: ClassVar[str]
    changes: ClassVar[bool] = True
    """Whether the runbook changes its endpoint; one that only reads needs a reader's role."""

    autoscale: ClassVar[bool] = False
    """Whether before.json and after.json hold the endpoint's autoscale settings too."""

    target: str = Field(default="sandbox", min_length=1, description=TARGET)
    endpoint: Name = Field(description="endpoint to work on")
    operation_timeout_s: Seconds = Field(
        default=3600.0, description="longest wait for one Azure operation [seconds]"
    )
    reason: str = Field(default="", max_length=2000, description="why this run is made; kept in the record")
    policy: str = Field(default="", description="path of the endpoint's policy.yml; empty: none")
    dry_run: bool = Field(default=False, description="stop after the plan, change nothing")

    @field_validator("*", mode="wrap")
    @classmethod
    def _read_text(cls, value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        """Read text as a number or as YAML where the parameter is not text: a command line passes only text."""
        try:
            return validate(value)
        except ValidationError:
            if not isinstance(value, str) or _OF_AN_HOUR.fullmatch(value.strip()):
                raise
            if _NUMBER.fullmatch(value.strip()):
                return validate(int(value) if value.strip().lstrip("+-").isdigit() else float(value))
            import yaml  # noqa: PLC0415 - a refusal of a name does without

            try:
                return validate(yaml.safe_load(value))
            except yaml.YAMLError:
                return validate(value)

    @classmethod
    def check(cls, given: Mapping[str, Any]) -> Self:
        """Validate parameters by name.

        Raises
        ------
        ParameterError
            Lists every unknown, missing, ill-typed and out-of-range parameter.
        """
        refuse_secrets(cls.runbook, given)
        try:
            return cls.model_validate(dict(given))
        except ValidationError as error:
            problems = "\n".join(f"  {problem}" for _, problem in cls._describe(error))
            message = redact(f"invalid parameters of {cls.runbook}:\n{problems}")
            raise ParameterError(message) from error

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what `check` would refuse, as pairs of a parameter and its problem.

        The name is empty where a problem is about several parameters.

        Raises
        ------
        ParameterError
            If a value is a secret.
        """
        refuse_secrets(cls.runbook, given)
        try:
            cls.model_validate(dict(given))
        except ValidationError as error:
            return [(name, redact(problem)) for name, problem in cls._describe(error)]
        return []

    @classmethod
    def _describe(cls, error: ValidationError) -> Iterator[tuple[str, str]]:
        for item in error.errors():
            name = str(item["loc"][0]) if item["loc"] else ""
            yield name, describe_problem(cls.runbook, cls.model_fields, dict(item))

    @classmethod
    def bind(cls, namespace: Mapping[str, Any]) -> Self:
        """Validate the parameters in a notebook's namespace (`globals()`).

        What papermill injected, or a person changed, is given (`model_fields_set`); the rest has its default.

        Unknown names are searched for in the cell that papermill injected, which IPython keeps in its history.
        """
        injected = injected_names(namespace.get("In", []))
        given = {
            name: namespace[name]
            for name, field in cls.model_fields.items()
            if name in namespace and (name in injected or field.is_required() or namespace[name] != field.default)
        }
        return cls.check(given | {name: namespace.get(name) for name in sorted(injected - cls.model_fields.keys())})
