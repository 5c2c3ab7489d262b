"""
The token endpoint: it exchanges client credentials for a JSON Web Token.

It issues the same token again, with a shrinking `expires_in`, until 15 minutes before the token expires. Then it issues
a new one, and the two overlap (changelog 2024; recorded traffic). The keys at /.well-known/jwks.json verify the
signature.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import orjson

from blocks.sandbox.http.error_documents import error_response
from blocks.sandbox.http.messages import Request, Response
from blocks.sandbox.http.signing import Signer, encoded
from blocks.sandbox.shop.problems import Problem, invalid_token
from blocks.sandbox.shop.shop import Shop

RENEWAL_SECONDS = 900
_MAX_PARAMETERS = 50
_BAD = "BAD_REQUEST"
_JSON = "application/json; charset=utf-8"


class Tokens:
    """Issues, checks and revokes access tokens."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._signer = Signer(shop.database)
        self._expiry_of: dict[str, float] = {}
        revoked = shop.database.execute("SELECT token FROM sandbox_revoked_tokens").fetchall()
        self._revoked = {str(row[0]) for row in revoked}
        self._routes: dict[str, tuple[tuple[str, ...], Callable[[Request], Response]]] = {
            "/oauth/token": (("POST",), self._grant),
            "/oauth/revoke": (("POST",), self._revoke),
            "/oauth/tokeninfo": (("GET", "HEAD"), self._describe),
            "/.well-known/jwks.json": (("GET", "HEAD"), self._publish),
        }

    def answer(self, request: Request) -> Response:
        """Answer requests to /oauth, and the one for the keys that verify tokens."""
        methods, answer = self._routes.get(request.path.rstrip("/"), ((), None))
        if answer is None:
            return _refusal(404, "Not found", "There is nothing at this address.", "NOT_FOUND")
        if request.method in methods:
            return answer(request)
        allow = {"Allow": ", ".join((*methods, "OPTIONS"))}
        if request.method == "OPTIONS":
            return Response(204, headers=allow)
        refused = _refusal(405, "Method not allowed", "This address has no such method.", "METHOD_NOT_ALLOWED")
        refused.headers |= allow
        return refused

    def check(self, request: Request) -> None:
        """
        Check the bearer token of a request.

        Raises:
            Problem: 401 INVALID_TOKEN.
        """
        authorization = request.headers.get("authorization", "")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise invalid_token()
        expiry = self._expiry(token)
        if expiry is None or token in self._revoked:
            raise invalid_token()
        if expiry <= self._shop.now().timestamp():
            raise invalid_token(expired=True)

    def revoke(self, token: str) -> None:
        """Make a token invalid from now on."""
        self._revoked.add(token)
        self._shop.database.execute("INSERT OR IGNORE INTO sandbox_revoked_tokens VALUES (?)", (token,))

    def revoke_all(self) -> int:
        """Revoke the token in use; the next grant is a new one. Returns how many were revoked."""
        current = self._shop.database.state("token", "")
        if not current or current in self._revoked:
            return 0
        self.revoke(current)
        return 1

    def _expiry(self, token: str) -> float | None:
        known = self._expiry_of.get(token)
        if known is None:
            claims = self._claims(token)
            known = None if claims is None else float(claims["exp"])
            if known is not None:
                self._expiry_of[token] = known
        return known

    def _claims(self, token: str) -> dict[str, Any] | None:
        """The claims of a token; None when it was not signed here."""
        signed, _, signature = token.rpartition(".")
        if not token.isascii() or not self._signer.is_ours(signed.encode(), signature.encode()):
            return None
        claims: dict[str, Any] = orjson.loads(_decoded(signed.partition(".")[2]))
        return claims

    def _grant(self, request: Request) -> Response:
        given = _credentials(request)
        if given.get("grant_type") != "client_credentials":
            return _refusal(400, "unsupported_grant_type", "The authorization grant type is not supported.", _BAD)
        if not self._is_our_client(given):
            return _unknown_client()
        token = self._current() or self._issue(given.get("scope") or "market:all")
        claims = self._claims(token) or {}
        answer = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": int(claims["exp"] - self._shop.now().timestamp()),
            "scope": claims["scope"],
            "created_at": claims["iat"],
        }
        return Response(200, orjson.dumps(answer), _JSON, {"Cache-Control": "no-store"})

    def _is_our_client(self, given: dict[str, str]) -> bool:
        settings = self._shop.settings
        return (given.get("client_id"), given.get("client_secret")) == (settings.client_id, settings.client_secret)

    def _current(self) -> str | None:
        token = self._shop.database.state("token", "")
        expiry = self._expiry(token) if token else None
        if expiry is None or token in self._revoked:
            return None
        now = self._shop.now().timestamp()
        claims = self._claims(token) or {}
        # After the clock was set back, the token may have been issued in the future.
        is_from_the_future = claims.get("iat", 0) > now + 1
        return token if expiry - now > RENEWAL_SECONDS and not is_from_the_future else None

    def _issue(self, scope: str) -> str:
        settings, now = self._shop.settings, int(self._shop.now().timestamp())
        claims = {
            "organization": {
                "id": self._shop.organization_id,
                "slug": settings.organization,
                "enterprise": False,
                "region": "eu-west-1",
            },
            "application": {
                "id": "sandboxApp",
                "client_id": settings.client_id,
                "kind": "integration",
                "public": False,
                "confidential": True,
            },
            "scope": scope,
            "exp": now + settings.token_seconds,
            "iat": now,
            "test": settings.mode == "test",
            "rand": self._shop.random_for(f"token:{self._shop.database.next_number('tokens')}").random(),
            "iss": "https://auth.commercelayer.io",
        }
        signed = self._signer.header + b"." + encoded(orjson.dumps(claims))
        token = (signed + b"." + self._signer.sign(signed)).decode()
        self._shop.database.set_state("token", token)
        return token

    def _revoke(self, request: Request) -> Response:
        given = _credentials(request)
        if not self._is_our_client(given):
            # As js-auth's own tests expect it, unlike the refusal of a grant.
            return _refusal(403, "unauthorized_client", "You are not authorized to revoke this token", "FORBIDDEN")
        if given.get("token"):
            self.revoke(given["token"])
        return Response(200, b"{}", _JSON)

    def _publish(self, request: Request) -> Response:
        del request
        return Response(200, orjson.dumps(self._signer.published()), _JSON)

    def _describe(self, request: Request) -> Response:
        try:
            self.check(request)
        except Problem as refused:
            return error_response(refused)
        token = request.headers["authorization"].partition(" ")[2]
        claims = self._claims(token) or {}
        now = self._shop.now().timestamp()
        answer = {"token": claims, "token_type": "Bearer", "expires_in": int(claims["exp"] - now)}
        return Response(200, orjson.dumps(answer), _JSON)


def _credentials(request: Request) -> dict[str, str]:
    """The members of a JSON or form body, and the client id and secret of HTTP Basic if they are given there."""
    given: dict[str, str] = {}
    if "json" in request.headers.get("content-type", ""):
        try:
            body = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            body = None
        if isinstance(body, dict):
            given = {name: value for name, value in body.items() if isinstance(value, str)}
    else:
        text = request.body.decode("utf-8", "replace")
        given = dict(parse_qsl(text)) if text.count("&") < _MAX_PARAMETERS else {}
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        pair = _decoded(encoded).decode("utf-8", "replace")
        given["client_id"], _, given["client_secret"] = pair.partition(":")
    return given


def _decoded(text: str) -> bytes:
    """Decode Base64 of either alphabet, padded or not; empty when it is neither."""
    plain = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4))
    except ValueError:
        return b""


def _unknown_client() -> Response:
    detail = (
        "Client authentication failed due to unknown client, no client authentication included, "
        "or unsupported authentication method."
    )
    return _refusal(401, "invalid_client", detail, "UNAUTHORIZED")


def _refusal(status: int, title: str, detail: str, code: str) -> Response:
    # `status` is a number here, unlike in the Core API.
    error = {"title": title, "detail": detail, "code": code, "status": status, "meta": {}}
    return Response(status, orjson.dumps({"errors": [error]}), _JSON)
