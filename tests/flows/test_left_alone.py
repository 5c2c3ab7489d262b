"""Subscriptions that a sweep skips, and the reasons that a merchant reads."""

from __future__ import annotations

import stored_runs
from merchant import Merchant

from blocks.commerce_layer.changes import OrderCopyDraft
from blocks.commerce_layer.charging import create_order_copy


async def test_a_subscription_that_must_not_be_renewed_is_skipped_with_the_reason_in_words(merchant: Merchant) -> None:
    box = merchant.sandbox
    expected = {}

    def skipped_with(words: str, **members: object) -> dict[str, str]:
        made: dict[str, str] = box.create_subscription(**members)
        expected[made["id"]] = words
        return made

    skipped_with("its renewal state cannot be read", metadata={"perennial": {"v": 9}})
    skipped_with("catch_up = 'skp'", metadata={"perennial": {"v": 1, "policy": {"catch_up": "skp"}}})
    skipped_with("'fortnightly'", frequency="fortnightly")
    skipped_with("it expired on", starts_at="2026-01-01T06:00:00Z", next_run_at="2026-03-01T06:00:00Z",
               expires_at="2026-02-20T06:00:00Z")  # fmt: skip
    with_a_rival = skipped_with("Commerce Layer's own engine may renew it")
    box.create_subscription(
        status="active",
        source_order_id=with_a_rival["source_order_id"],
        next_run_at="2099-01-01T00:00:00Z",
        adopted=False,
    )
    copied = skipped_with("(crm) of the same source order was made inside this period")
    async with merchant.dashboard() as dashboard:
        draft = OrderCopyDraft(source_order_id=copied["source_order_id"], reference="by-crm", reference_origin="crm")
        await create_order_copy(dashboard, draft)
    not_adopted = box.create_subscription(adopted=False)
    good = box.create_subscription()

    ended = await merchant.sweep()

    rows = {row["renewal"][:10]: row for row in await stored_runs.table(ended.flow_run_id)}
    assert not_adopted["id"] not in rows
    assert rows.pop(good["id"])["outcome"] == "renewed"
    assert {row["outcome"] for row in rows.values()} == {"skipped"}
    assert {name: words for name, words in expected.items() if words not in rows[name]["why"]} == {}
    assert ended.name == "Failed"
    assert ended.message == "5 need a person: 1 renewal: 1 renewed, 1 skipped, 5 skipped until a person acts"
    assert [copy["reference_origin"] for copy in merchant.copies()] == ["crm", "perennial"]
