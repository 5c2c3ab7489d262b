"""The merchant's renewal policy as a Prefect block, which staff edit in the UI."""

from typing import ClassVar

from prefect.blocks.core import Block
from pydantic import ConfigDict, HttpUrl

from blocks.cached_schema import CachedSchema
from blocks.policy import Policy

_LOGO = "https://github.com/commercelayer.png"
_DOCUMENTATION = "https://docs.commercelayer.io/core-api-reference/order_subscriptions"


class RenewalPolicy(CachedSchema, Block, Policy):
    """
    How subscriptions are renewed: time zone, catching up, retries, limits, and what happens in the end.

    Example:
        Load a stored policy as plain data:
        ```python
        from blocks.renewal_policy import RenewalPolicy

        policy = RenewalPolicy.load("BLOCK_NAME").plain()
        ```
    """

    # Besides the fields, a block carries the id and name of its document, so it is not frozen and allows extra fields.
    model_config = ConfigDict(frozen=False, extra="allow")

    _block_type_name: ClassVar[str | None] = "Renewal Policy"
    _block_type_slug: ClassVar[str | None] = "renewal-policy"
    _logo_url: ClassVar[HttpUrl | None] = HttpUrl(_LOGO)
    _documentation_url: ClassVar[HttpUrl | None] = HttpUrl(_DOCUMENTATION)

    def plain(self) -> Policy:
        """The policy as plain data for the rules. Raises ValidationError if a field has become invalid since."""
        return Policy(**{name: getattr(self, name) for name in Policy.model_fields})
