"""Wrong input: the error names the field, its value and the way out, and never shows a secret."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote

import pytest
import stored_runs
from merchant import Ended, Merchant
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings
from pydantic import SecretStr

from blocks.renewal_policy import RenewalPolicy
from flows.cli.installation import credentials_for
from flows.cli.prefect_server import drain
from flows.renew import renew_subscriptions


async def _with_block(merchant: Merchant, limiter_url: str | None = None, **changed: Any) -> None:
    """Save the merchant's credentials block with some fields changed, unchecked, as the UI would."""
    box = merchant.sandbox
    given = {
        "organization": box.organization, "client_id": box.client_id, "client_secret": box.client_secret,
        "mode": "test", "api_url": box.api_url, "auth_url": box.auth_url,
    }  # fmt: skip
    block = credentials_for(**{**given, **changed})
    block.limiter_url = limiter_url and SecretStr(limiter_url)
    await block.asave(merchant.name, overwrite=True)


def refused(ended: Ended, *words: str) -> None:
    assert ended.name == "Failed"
    for word in words:
        assert word in ended.message


async def test_a_wrong_secret_says_which_field_to_check(merchant: Merchant) -> None:
    await _with_block(merchant, client_secret="a-wrong-secret")
    ended = await merchant.sweep()
    refused(ended, "client_id", "client_secret")
    assert "a-wrong-secret" not in ended.message


async def test_an_unreachable_api_is_named(merchant: Merchant) -> None:
    await _with_block(merchant, auth_url="http://127.0.0.1:9/oauth/token", api_url="http://127.0.0.1:9/api")
    refused(await merchant.sweep(), "127.0.0.1:9")


async def test_an_unreachable_api_is_named_although_the_token_endpoint_answers(merchant: Merchant) -> None:
    await _with_block(merchant, api_url="http://127.0.0.1:9/api")
    refused(await merchant.sweep(), "http://127.0.0.1:9/api cannot be reached", "`api_url`")


async def test_a_wrong_api_url_is_named_with_its_field(merchant: Merchant) -> None:
    await _with_block(merchant, api_url=merchant.sandbox.url)
    refused(await merchant.sweep(), "404", f"{merchant.sandbox.url} an API?", "`api_url`, which ends in /api")


@pytest.mark.parametrize("blank", ["", "  "])
async def test_a_reorder_with_a_blank_source_order_id_says_what_is_missing(merchant: Merchant, blank: str) -> None:
    refused(await merchant.reorder(blank), "source_order_id is empty", "ten letters")
    assert merchant.copies() == []


async def test_an_organization_that_differs_from_the_tokens_is_refused(merchant: Merchant) -> None:
    await _with_block(merchant, organization="somebody-else")
    refused(await merchant.sweep(), "organization", "somebody-else", merchant.sandbox.organization)


async def test_a_mode_that_disagrees_with_the_token_is_refused(merchant: Merchant) -> None:
    merchant.sandbox.create_subscription()
    await _with_block(merchant, mode="live")
    refused(await merchant.sweep(), "mode", "live", "test")
    assert merchant.copies() == []


@pytest.mark.parametrize("text", ["tomorrow", "20260301", "1767225600"])
async def test_an_unreadable_as_of_is_quoted_with_an_example(merchant: Merchant, text: str) -> None:
    refused(await merchant.sweep(as_of=text), "as_of", repr(text), "2026-03-01T06:00:00Z", "leave it empty")


async def test_an_as_of_in_the_future_is_refused(merchant: Merchant) -> None:
    merchant.sandbox.create_subscription(next_run_at="2098-01-01T00:00:00Z")
    refused(await merchant.sweep(as_of="2099-01-01"), "2099-01-01 00:00 UTC", "shop's clock", "Leave as_of empty")
    assert merchant.copies() == []


async def test_a_block_that_does_not_exist_is_named_with_the_command_that_makes_it(merchant: Merchant) -> None:
    merchant.name = "no-such-shop"
    refused(await merchant.sweep(), "CommerceLayerCredentials", "'no-such-shop'", "`perennial setup`")


async def test_a_policy_with_invalid_values_is_refused_field_by_field(merchant: Merchant) -> None:
    block = await RenewalPolicy.aload(merchant.name)
    async with get_client() as prefect:
        document = await prefect.read_block_document_by_name(merchant.name, "renewal-policy")
        data = {**document.data, "payment_retries": ["soon"], "time_zone": "Mars/Olympus"}
        answer = await prefect._client.patch(
            f"/block_documents/{document.id}", json={"data": data, "merge_existing_data": False}
        )
        answer.raise_for_status()
    assert block.time_zone == "UTC"
    refused(await merchant.sweep(), "payment_retries", "'soon'", "3d", "time_zone", "'Mars/Olympus'", "Europe/Rome")


@pytest.mark.parametrize(("named", "words"), [([], "an empty list"), (["Nobodyhere"], "'Nobodyhere'")])
async def test_an_empty_list_or_an_unknown_subscription_is_refused(
    merchant: Merchant, named: list[str], words: str
) -> None:
    merchant.sandbox.create_subscription()
    refused(await merchant.sweep(subscriptions=named), "subscriptions", words)
    assert merchant.copies() == []


async def test_a_subscription_with_an_invalid_policy_needs_a_person_and_does_not_stop_the_others(
    merchant: Merchant,
) -> None:
    merchant.sandbox.create_subscription()
    odd = merchant.sandbox.create_subscription(metadata={"perennial": {"v": 1, "policy": {"catch_up": "skp"}}})

    ended = await merchant.sweep()

    assert (ended.name, ended.outcomes) == ("Failed", {"renewed": 1, "skipped": 1})
    first, *_ = await stored_runs.table(ended.flow_run_id)
    assert first["renewal"].startswith(odd["id"])
    assert "catch_up = 'skp'" in first["why"]


async def test_no_secret_and_no_token_is_stored_or_printed_anywhere(
    merchant: Merchant, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not in Prefect's database (states, logs, artifacts, events, parameters, results), our logs or the shop's data."""
    caplog.set_level("DEBUG")
    spelt, unreadable = "the-limiters-%2Fpassword", "an-unspelt-/password"
    seeded = merchant.sandbox.seed(2)
    merchant.sandbox.create_subscription(failure="hard_declined")
    async with merchant.dashboard() as dashboard:
        token = (await dashboard.wire.tokens.current()).text
    assert len(seeded["subscription_ids"]) == 2
    await merchant.sweep()
    await merchant.reorder(seeded["source_order_ids"][0], besides_renewal=True)
    merchant.sandbox.revoke_tokens()
    await merchant.sweep(subscriptions=["Nobodyhere"])
    await _with_block(merchant, client_secret="another-wrong-secret-1234")
    await merchant.sweep()
    for password, ends in ((spelt, "Completed"), (unreadable, "Failed")):
        await _with_block(merchant, f"redis://me:{password}@127.0.0.1:9/0")
        stored = renew_subscriptions.with_options(persist_result=True)
        ended = await stored(credentials=merchant.name, policy=merchant.name, return_state=True)
        assert ended.name == ends, ended.message
    assert "limiter_url" in (ended.message or "")
    await drain()
    await asyncio.sleep(3)  # the server writes in batches

    written = {path.name: path.read_bytes() for path in get_current_settings().home.rglob("*") if path.is_file()}
    assert [name for name in written if (get_current_settings().home / "storage" / name).exists()], "results, too"
    written["printed"] = "".join(capfd.readouterr()).encode()
    written["log"] = "\n".join(record.getMessage() for record in caplog.records).encode()
    for table in ("order_copies", "order_subscriptions", "orders"):
        written[table] = repr(merchant.rows(f"SELECT * FROM {table}")).encode()
    where_sentences_are = [name for name, text in written.items() if b"card lost or stolen" in text]
    assert any(name.startswith("prefect.db") for name in where_sentences_are)  # the scan reads what was written
    secrets = (merchant.sandbox.client_secret, "another-wrong-secret-1234", token)
    for secret in (*secrets, spelt, unquote(spelt), unreadable, unreadable.partition("/")[0]):
        assert not [name for name, text in written.items() if secret.encode() in text]
