"""Checks what people type into the form of a run, with helpful messages."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError, WrapValidator
from pydantic.functional_validators import ModelWrapValidatorHandler

_ANY_INSTANT: TypeAdapter[datetime] = TypeAdapter(datetime)


def _an_instant(given: Any, _handler: ModelWrapValidatorHandler[datetime]) -> datetime:
    try:
        # A bare number would be read as seconds since 1970, which is never meant.
        if isinstance(given, (str, datetime)) and not str(given).strip().isdigit():
            return _ANY_INSTANT.validate_python(given)
    except ValidationError:
        pass
    raise ValueError(
        f"{given!r} is not an instant: write it like 2026-03-01T06:00:00Z, or leave it empty to take the present one"
    )


Instant = Annotated[datetime, WrapValidator(_an_instant)]
"""A date and time, UTC unless it says otherwise."""
