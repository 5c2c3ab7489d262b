"""The description of the token endpoint and its neighbours."""

from __future__ import annotations

from blocks.sandbox.api.json_schema import KINDS, Schema, array, closed, content, reference, schema_named
from blocks.sandbox.api.response_schemas import JSON_API

_JSON = "application/json"
_TEXT, _NUMBER = KINDS["text"], {"type": "integer", "minimum": 0}
_CREDENTIALS = dict.fromkeys(("client_id", "client_secret"), _TEXT)
_REFUSED = closed(
    {
        "errors": array(
            closed({"title": _TEXT, "detail": _TEXT, "code": _TEXT, "status": _NUMBER, "meta": closed({})}), minItems=1
        )
    }
)
_TOKEN = closed(
    {
        "access_token": _TEXT,
        "token_type": {"const": "Bearer"},
        "expires_in": _NUMBER,
        "scope": _TEXT,
        "created_at": _NUMBER,
    }
)
_CLAIMS = closed(
    {
        "organization": closed(
            {"id": _TEXT, "slug": _TEXT, "enterprise": KINDS["boolean"], "region": _TEXT},
        ),
        "application": closed(
            {
                **dict.fromkeys(("id", "client_id", "kind"), _TEXT),
                **dict.fromkeys(("public", "confidential"), KINDS["boolean"]),
            }
        ),
        "scope": _TEXT,
        "exp": _NUMBER,
        "iat": _NUMBER,
        "test": KINDS["boolean"],
        "rand": KINDS["number"],
        "iss": _TEXT,
    }
)
_KEY = closed(
    {
        **dict.fromkeys(("e", "n", "kid"), _TEXT),
        "kty": {"const": "RSA"},
        "alg": {"const": "RS512"},
        "use": {"const": "sig"},
    }
)


def token_paths() -> dict[str, Schema]:
    """The paths below /oauth and /.well-known, with their operations."""
    grant = closed({"grant_type": {"const": "client_credentials"}, **_CREDENTIALS, "scope": _TEXT}, optional=("scope",))
    revoke = closed({**_CREDENTIALS, "token": _TEXT})
    info = closed({"token": _CLAIMS, "token_type": {"const": "Bearer"}, "expires_in": _NUMBER})
    return {
        "/oauth/token": {
            "post": _operation("Exchange client credentials for an access token.", _TOKEN, _refusals(400, 401), grant)
        },
        "/oauth/revoke": {"post": _operation("Revoke an access token.", closed({}), _refusals(403), revoke)},
        "/oauth/tokeninfo": {
            "get": {
                **_operation("The claims of the bearer's token.", info, _refusals(401, media_type=JSON_API)),
                "security": [{"bearer": []}],
            }
        },
        "/.well-known/jwks.json": {
            "get": _operation("The keys that tokens are checked with.", closed({"keys": array(_KEY)}), {})
        },
    }


def _operation(summary: str, answer: Schema, refusals: Schema, body: Schema | None = None) -> Schema:
    done = {"200": {"description": "Done.", **content(_JSON, answer)}}
    operation: Schema = {"summary": summary, "tags": ["auth"], "responses": done | refusals}
    if body is not None:
        operation["requestBody"] = {"required": True, **content(_JSON, body)}
    return operation


def _refusals(*statuses: int, media_type: str = _JSON) -> Schema:
    """Here `status` is a number, except where a bearer's token is refused."""
    schema = _REFUSED if media_type == _JSON else schema_named("errors")
    refused = {"description": "It is refused.", **content(media_type, schema)}
    return {**{str(status): refused for status in statuses}, "429": reference("responses", "throttled")}
