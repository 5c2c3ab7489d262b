"""The block with the merchant's organization and API client. In this package, only this file imports Prefect."""

from datetime import timedelta
from typing import Literal
from urllib.parse import urlsplit

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, HttpUrl, SecretStr, ValidationInfo, field_validator

from blocks.cached_schema import CachedSchema
from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.rate_limit import RateBudget, RateLimits, checked, open_store
from blocks.commerce_layer.transport import is_loopback

AUTH_URL = "https://auth.commercelayer.io/oauth/token"
PLATFORM = "commercelayer.io"
MAX_CLOCK_SKEW = timedelta(minutes=5)
"""More than clocks differ that are set by the network; less than a wrong clock is usually off."""


class CommerceLayerCredentials(CachedSchema, Block):
    """
    Connects to one Commerce Layer organization with the API client of an integration.

    Attributes:
        organization: Organization slug, the first label of https://{slug}.commercelayer.io.
        client_id: Client ID of an integration.
        client_secret: Client secret of the same integration.
        mode: The environment that the integration belongs to; a token of the other one is refused.
        trusted_host: Host of the two addresses if it is not Commerce Layer's own.
        api_url: Address of the API. Empty for Commerce Layer itself.
        auth_url: Address of the token endpoint. Empty for Commerce Layer itself.
        rate_limits: Corrections to the documented rate limits. Leave it alone for Commerce Layer itself.
        max_clock_skew_seconds: How far the shop's clock may be off before nothing is renewed. Empty for 300.
        limiter_url: Where workers on several machines share their request budget.

    Example:
        Find what is due (in async code, `await CommerceLayerCredentials.aload(...)`):
        ```python
        from datetime import UTC, datetime

        from blocks.commerce_layer.credentials import CommerceLayerCredentials

        credentials = CommerceLayerCredentials.load("BLOCK_NAME")

        async def print_what_is_due():
            async with credentials.get_client() as commerce_layer:
                async for page in commerce_layer.iter_due_subscriptions(datetime.now(UTC)):
                    print([subscription.number for subscription in page])
        ```
    """

    _block_type_name = "Commerce Layer Credentials"
    _block_type_slug = "commerce-layer-credentials"
    _logo_url = HttpUrl("https://github.com/commercelayer.png")
    _documentation_url = HttpUrl("https://docs.commercelayer.io/core/authentication/client-credentials")

    # pydantic repeats what it refuses, and of a field that is missing it repeats all others: the secrets, too.
    model_config = ConfigDict(hide_input_in_errors=True)

    organization: str = Field(
        default=...,
        pattern=r"^[a-z0-9][a-z0-9-]*$",
        description="Organization slug: the first label of https://{slug}.commercelayer.io.",
    )
    client_id: str = Field(default=..., min_length=1, description="Client ID of an integration.")
    client_secret: SecretStr = Field(default=..., description="Client secret of the same integration.")
    mode: Literal["test", "live"] = Field(
        default="test",
        title="Environment",
        description="The environment that the integration belongs to. A token of the other one is refused.",
    )
    trusted_host: str | None = Field(
        default=None,
        title="Another host",
        description=(
            "Host that the two addresses below name instead of Commerce Layer's own. Empty for Commerce Layer and for "
            "a sandbox on this machine. The client secret is sent to no other host."
        ),
    )
    api_url: str | None = Field(
        default=None,
        title="API address",
        description="Empty for Commerce Layer itself; a sandbox has an address of its own, ending in /api.",
    )
    auth_url: str | None = Field(
        default=None,
        title="Token address",
        description="Empty for Commerce Layer itself; a sandbox has an address of its own, ending in /oauth/token.",
    )
    rate_limits: RateLimits = Field(
        default_factory=RateLimits,
        title="Rate limits",
        description="Corrections to the documented rate limits. Leave it alone for Commerce Layer itself.",
    )

    max_clock_skew_seconds: int | None = Field(
        default=None,
        ge=1,
        le=3600,
        title="Clock difference allowed",
        description=(
            "Seconds by which the shop's clock and this machine's may differ, or nothing is renewed. Empty: 300; "
            "a sandbox on this machine, whose clock is wound by hand, is not compared then."
        ),
    )

    limiter_url: SecretStr | None = Field(
        default=None,
        title="Request budget shared through",
        description=(
            "Where all workers behind one address count their requests together: redis:// or postgresql://. "
            "Empty when they all run on one machine, as one user."
        ),
    )

    @field_validator("limiter_url")
    @classmethod
    def _a_store_we_know(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None or not url.get_secret_value():
            return None
        checked(url.get_secret_value())
        return url

    @field_validator("api_url", "auth_url")
    @classmethod
    def _where_the_secret_may_go(cls, url: str | None, info: ValidationInfo) -> str | None:
        if not url:
            return None
        location = urlsplit(url)
        if is_loopback(url) and location.scheme in {"http", "https"}:
            return url
        if location.scheme != "https":
            raise ValueError("must start with https:// (http:// only for a sandbox on this machine)")
        if not (_is_of_the_platform(url) or location.hostname == (info.data.get("trusted_host") or "").lower()):
            raise ValueError(
                f"names the host {location.hostname!r}, which is not Commerce Layer's ({PLATFORM}). Correct it, or "
                "name that host in the field trusted_host: the client secret is sent there"
            )
        return url

    @property
    def max_clock_skew(self) -> timedelta | None:
        """How far the shop's clock and our own may differ; None where they are not compared."""
        if self.max_clock_skew_seconds is not None:
            return timedelta(seconds=self.max_clock_skew_seconds)
        return None if self.api_url and is_loopback(self.api_url) else MAX_CLOCK_SKEW

    def get_client(self) -> CommerceLayer:
        """A client for `async with`. Nothing is sent before its first call."""
        api_url = self.api_url or f"https://{self.organization}.commercelayer.io/api"
        auth_url = self.auth_url or AUTH_URL
        store = open_store(self.limiter_url.get_secret_value() if self.limiter_url else "")
        return CommerceLayer(
            api_url=api_url,
            auth_url=auth_url,
            organization=self.organization,
            client_id=self.client_id,
            client_secret=self.client_secret,
            mode=self.mode,
            budget=RateBudget(
                _limited_together(api_url),
                self.mode,
                self.rate_limits,
                store,
                token_host=_limited_together(auth_url),
            ),
        )


def _is_of_the_platform(url: str) -> bool:
    return f".{urlsplit(url).hostname}".endswith(f".{PLATFORM}")


def _limited_together(url: str) -> str:
    """The name under which requests are counted: limits are per source address, for all organizations together."""
    return PLATFORM if _is_of_the_platform(url) else urlsplit(url).netloc
