"""What the API keeps about a resource that could not be processed, as a frozen model."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict


class ResourceError(BaseModel):
    """One thing that went wrong with a resource. Source: API reference, "The resource error object"."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    name: str | None = None
    """The attribute or relationship that it belongs to, such as `payment_source`."""
    code: str | None = None
    """A short name of the error."""
    message: str | None = None
    """What went wrong, in words."""
    created_at: datetime | None = None
    """When it went wrong, UTC."""
