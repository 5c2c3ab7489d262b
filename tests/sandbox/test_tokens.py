"""The token endpoint: which tokens it issues, how long they are valid, and which are refused."""

from __future__ import annotations

import base64
import json

import httpx
import pytest

from blocks.sandbox.running import RunningSandbox


def claims(token):
    middle = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))


def code(response):
    return response.status_code, response.json()["errors"][0]["code"]


def test_the_token_names_organization_and_mode(caller, sandbox):
    answer = caller.grant()
    said = claims(answer["access_token"])

    assert answer["token_type"].lower() == "bearer"
    assert answer["scope"] == "market:all"
    assert said["organization"]["slug"] == sandbox.organization
    assert said["organization"]["id"] == sandbox.info()["organization_id"]
    assert said["test"] is True
    assert said["application"]["kind"] == "integration"
    assert said["iss"] == "https://auth.commercelayer.io"
    assert said["exp"] - said["iat"] == 7200


def test_the_same_token_is_returned_until_fifteen_minutes_before_it_expires(caller, sandbox):
    sandbox.revoke_tokens()
    first = caller.grant()
    sandbox.advance(6000)
    second = caller.grant()
    sandbox.advance(301)
    third = caller.grant()

    assert second["access_token"] == first["access_token"]
    assert (second["expires_in"], second["created_at"]) == (first["expires_in"] - 6000, first["created_at"])
    assert third["access_token"] != first["access_token"]
    assert third["expires_in"] == 7200


def test_the_old_token_overlaps_with_the_new_one_and_then_expires(caller, sandbox):
    sandbox.revoke_tokens()
    caller.log_in()
    sandbox.advance(6301)
    caller.grant()
    assert caller.get("/orders").status_code == 200

    sandbox.advance(900)
    refused = caller.get("/orders")

    assert code(refused) == (401, "INVALID_TOKEN")
    assert refused.json()["errors"][0]["detail"].endswith("(has expired)")


def test_wrong_credentials_are_refused_with_a_numeric_status(sandbox):
    body = {"grant_type": "client_credentials", "client_id": sandbox.client_id, "client_secret": "wrong"}
    refused = httpx.post(sandbox.auth_url, json=body, trust_env=False)

    assert refused.status_code == 401
    error = refused.json()["errors"][0]
    assert (error["title"], error["code"], error["status"]) == ("invalid_client", "UNAUTHORIZED", 401)


def test_credentials_by_http_basic_and_a_form_body_are_accepted(sandbox):
    answer = httpx.post(
        sandbox.auth_url,
        data={"grant_type": "client_credentials"},
        auth=(sandbox.client_id, sandbox.client_secret),
        trust_env=False,
    )

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("path", "allowed"), [("token", "POST, OPTIONS"), ("revoke", "POST, OPTIONS"), ("tokeninfo", "GET, HEAD, OPTIONS")]
)
def test_a_method_that_an_address_does_not_have_is_answered_405(sandbox, path, allowed):
    refused = httpx.put(f"{sandbox.url}/oauth/{path}", trust_env=False)

    assert (refused.status_code, refused.json()["errors"][0]["status"]) == (405, 405)
    assert refused.headers["Allow"] == allowed


def test_other_grant_types_are_refused(sandbox):
    assert httpx.post(sandbox.auth_url, json={"grant_type": "password"}, trust_env=False).status_code == 400


def test_missing_forged_and_revoked_tokens_are_invalid(caller, sandbox):
    token = caller.log_in()
    forged = token[:-4] + ("AAAA" if not token.endswith("AAAA") else "BBBB")

    for authorization in ("", "Bearer", "Bearer nonsense", f"Bearer {forged}", f"Basic {token}"):
        refused = caller.http.get("/orders", headers={"Authorization": authorization})
        assert code(refused) == (401, "INVALID_TOKEN"), authorization
    body = {"client_id": sandbox.client_id, "client_secret": sandbox.client_secret, "token": token}
    assert httpx.post(f"{sandbox.url}/oauth/revoke", json=body, trust_env=False).json() == {}
    assert code(caller.get("/orders")) == (401, "INVALID_TOKEN")
    assert caller.log_in() != token
    assert caller.get("/orders").status_code == 200


@pytest.mark.parametrize("client", [{}, {"client_id": "another"}])
def test_a_token_is_not_revoked_for_a_client_that_does_not_say_who_it_is(caller, sandbox, client):
    token = caller.log_in()
    body = {**client, "client_secret": sandbox.client_secret, "token": token}
    refused = httpx.post(f"{sandbox.url}/oauth/revoke", json=body, trust_env=False)

    assert refused.status_code == 403
    error = refused.json()["errors"][0]
    assert (error["title"], error["code"], error["status"]) == ("unauthorized_client", "FORBIDDEN", 403)
    assert error["detail"] == "You are not authorized to revoke this token"
    assert caller.get("/orders").status_code == 200


def test_tokeninfo_describes_the_token(caller, sandbox):
    authorization = {"Authorization": caller.http.headers["Authorization"]}
    answer = httpx.get(f"{sandbox.url}/oauth/tokeninfo", headers=authorization, trust_env=False).json()

    assert answer["token"]["organization"]["slug"] == sandbox.organization


def test_tokens_and_signing_keys_stay_valid_after_a_restart(make_caller):
    with RunningSandbox("--limits", "off") as sandbox:
        caller = make_caller(sandbox)
        keys = httpx.get(f"{sandbox.url}/.well-known/jwks.json", trust_env=False).json()["keys"]
        sandbox.restart(kill=True)

        assert caller.get("/orders").status_code == 200
        assert httpx.get(f"{sandbox.url}/.well-known/jwks.json", trust_env=False).json()["keys"] == keys
        assert [key["alg"] for key in keys] == ["RS512"]


def test_requests_for_the_published_keys_count_towards_no_limit(make_caller):
    with RunningSandbox("--limit-clock", "virtual", "--frozen") as sandbox:
        caller = make_caller(sandbox)
        for _ in range(101):
            assert httpx.get(f"{sandbox.url}/.well-known/jwks.json", trust_env=False).status_code == 200
        assert caller.get("/orders").headers["X-Ratelimit-Remaining"] == "99"
