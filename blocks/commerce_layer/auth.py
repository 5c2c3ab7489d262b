"""Access tokens by the client credentials flow: one fetch serves all waiting requests, and renewal comes early.

The token endpoint returns the same token, with a shrinking `expires_in`, until fifteen
minutes before it expires. Then it issues a new one, and both are valid. So a token is renewed
as soon as the endpoint would issue a new one, and is never assumed to last its full two hours.
Source: Commerce Layer docs, "Authentication" and the 2024 changelog.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SecretStr

from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.errors import AuthenticationFailed, NotConnected, WrongShop

OVERLAP_SECONDS = 900
"""Seconds before a token expires at which the endpoint issues the next one."""
LAST_MINUTE_SECONDS = 60
"""A token with fewer seconds left is renewed, whatever the endpoint does."""
PATIENCE_SECONDS = 30
"""Seconds until the next try to renew a token that is still valid, after the endpoint could not be reached."""

TokenRequest = Callable[[dict[str, str]], Awaitable[Mapping[str, Any]]]
"""Posts a token request's fields and returns the endpoint's JSON; raises AuthenticationFailed or NotConnected."""


class TokenClaims(BaseModel):
    """What an access token says about the organization that it gives access to."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    organization_id: str
    """Ten letters."""
    organization_slug: str
    """The first label of the organization's host name."""
    mode: Literal["test", "live"]
    """From the claim `test`: test and live data are separate worlds."""
    application_id: str
    """The API client that the token was issued to."""
    application_kind: str
    """`integration`, `sales_channel`, ..."""
    expires_at: datetime
    """UTC, from the claim `exp`."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, its claims, and when to ask for the next one."""

    text: str = field(repr=False)
    claims: TokenClaims
    renew_at: datetime
    """UTC, on this machine's clock."""
    good_until: datetime
    """Likewise."""


@dataclass(frozen=True, slots=True)
class ExpectedShop:
    """The organization (slug) and mode that the configuration names. A token for any other one is not used."""

    organization: str
    mode: Literal["test", "live"]

    def check(self, claims: TokenClaims) -> None:
        """Raise WrongShop unless the token belongs to this organization and mode."""
        if claims.organization_slug != self.organization:
            way_out = "Use an API client of that organization, or correct the block's field `organization`."
            raise WrongShop("organization", self.organization, claims.organization_slug, way_out)
        if claims.mode != self.mode:
            way_out = f"Use an API client of the {self.mode} environment, or correct the block's field `mode`."
            raise WrongShop("mode", self.mode, claims.mode, way_out)


class AccessTokens:
    """The current access token of one API client."""

    def __init__(self, request: TokenRequest, client_id: str, client_secret: SecretStr, shop: ExpectedShop) -> None:
        self._request, self._client_id, self._client_secret, self._shop = request, client_id, client_secret, shop
        self._token: Token | None = None
        self._fetching: asyncio.Task[Token] | None = None

    async def current(self, *, instead_of: str | None = None) -> Token:
        """
        A token that can be used now. It is not `instead_of`, which was refused.

        All callers that wait at the same time share one request, and its token or its error.
        """
        token = self._token if self._token and self._token.text != instead_of else None
        now = current_clock().now()
        if token and now < token.renew_at:
            return token
        try:
            return await self._fetched()
        except NotConnected:
            if token is None or now >= token.good_until:
                raise
            # Tokens are renewed early, so an endpoint that is down for a while stops no request.
            self._token = replace(token, renew_at=now + timedelta(seconds=PATIENCE_SECONDS))
            return self._token

    async def close(self) -> None:
        """Cancel a fetch that is still under way."""
        if self._fetching and not self._fetching.done():
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    async def _fetched(self) -> Token:
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch())
        # Shielded: one caller that gives up must not take the token away from the others.
        return await asyncio.shield(self._fetching)

    async def _fetch(self) -> Token:
        answer = await self._request(
            {
                "grant_type": "client_credentials",
                "client_id": self._client_id,
                "client_secret": self._client_secret.get_secret_value(),
            }
        )
        text = answer.get("access_token")
        if not isinstance(text, str):
            raise AuthenticationFailed("The token endpoint sent no access token. Check the block's field `auth_url`.")
        claims = read_claims(text)
        self._shop.check(claims)
        self._token = _dated(text, claims, answer.get("expires_in"))
        return self._token


def read_claims(token: str) -> TokenClaims:
    """
    The claims of a token. Its signature is not checked: the token came over TLS, from the endpoint that we asked.

    Raises AuthenticationFailed when it is not a JWT of Commerce Layer.
    """
    try:
        payload = json.loads(_decoded(token.split(".")[1]))
        return TokenClaims(
            organization_id=payload["organization"]["id"],
            organization_slug=payload["organization"]["slug"],
            mode="test" if payload["test"] else "live",
            application_id=payload["application"]["id"],
            application_kind=payload["application"]["kind"],
            expires_at=datetime.fromtimestamp(payload["exp"], UTC),
        )
    except (ValueError, IndexError, KeyError, TypeError, OverflowError):
        problem = "its claims cannot be read"
    # Raised outside the `except` block, so that no traceback contains the token.
    message = f"The access token is not one of Commerce Layer: {problem}. Check the block's field `auth_url`."
    raise AuthenticationFailed(message)


def _decoded(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def _dated(text: str, claims: TokenClaims, expires_in: object) -> Token:
    """The token with its times. `expires_in` (seconds) is preferred, because it does not depend on two clocks."""
    now = current_clock().now()
    left = float(expires_in) if isinstance(expires_in, int | float) else (claims.expires_at - now).total_seconds()
    # A token that the endpoint returned although it expires soon is renewed shortly before it expires, and not
    # at once. Otherwise a token request would precede every request.
    early = OVERLAP_SECONDS if left > OVERLAP_SECONDS else min(LAST_MINUTE_SECONDS, left / 2)
    return Token(text, claims, now + timedelta(seconds=left - early), now + timedelta(seconds=left))
