"""`perennial report` and `perennial rehearse`, asked about what sweeps have done in a sandbox."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from merchant import Merchant
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

from blocks.renewal_policy import RenewalPolicy
from flows.__main__ import main

DAY = 86_400


@pytest.fixture
def history(shop: Merchant) -> list[str]:
    """Four subscriptions and three daily sweeps; the options that name their span and the shop."""
    shop.sandbox.set_clock("2026-03-10T06:00:00Z")
    due = shop.sandbox.clock() - timedelta(minutes=5)
    for failure, times in ((None, None), ("declined", 1), ("out_of_stock", 1), ("hard_declined", None)):
        made = {} if failure is None else {"failure": failure, "times": times}
        shop.sandbox.create_subscription(next_run_at=due.isoformat(), starts_at=due.isoformat(), **made)
    for _ in range(3):
        asyncio.run(shop.sweep())
        shop.sandbox.advance(DAY + 60)
    return ["--from", "2026-03-10", "--to", "2026-03-12", "--credentials", shop.name]


def figures(arguments: list[str], capsys) -> dict:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_month_is_reported_in_figures_as_a_page_and_as_an_artifact(shop: Merchant, history, capsys, tmp_path) -> None:
    page, own = tmp_path / "march.html", ["--policy", shop.name]

    said = figures(["report", *history, *own], capsys)

    assert said["sentence"] == "3 renewed, 2 of them after a failed attempt; 1 failed and not renewed by the end"
    classes = {row["class"]: row for row in said["classes"]}
    assert classes["stock"]["recovered_by_attempt"] == {"2": 1}
    assert classes["payment"]["recovered_by_attempt"] == {"2": 1}
    assert classes["payment"]["standing"] == {"recovered": 1, "held": 1}
    assert [(row["attempt"], row["made"], row["renewed"]["renewals"]) for row in said["attempts"]] == [
        (1, 4, 1),
        (2, 2, 2),
    ]
    assert [row["failed_attempts"] for row in said["days"]] == [3, 0, 0]
    assert [row["recovered"]["renewals"] for row in said["days"]] == [0, 2, 0]

    assert main(["report", *history, *own, "-o", str(page)]) == 0
    assert said["sentence"] in capsys.readouterr().out
    html = page.read_text(encoding="utf-8")
    assert "Renewals, 10 March to 12 March 2026" in html
    assert "card lost or stolen" in html
    assert re.findall(r"<script|<link|@import|url\(|\bsrc=", html) == [], "it must load nothing"
    asyncio.run(_is_in_prefect(said["sentence"]))


async def _is_in_prefect(sentence: str) -> None:
    async with get_client() as prefect:
        named = ArtifactFilter(key=ArtifactFilterKey(any_=["renewal-report"]))
        artifact = (await prefect.read_artifacts(artifact_filter=named, sort=ArtifactSort.CREATED_DESC))[0]
        assert artifact.type == "markdown"
        assert f"**{sentence}**" in str(artifact.data)


def test_a_span_shows_the_retries_of_renewals_that_began_before_it(shop: Merchant, history, capsys) -> None:
    second_day = ["--from", "2026-03-11", *history[2:]]
    reads = shop.requests("GET /api/order_copies")

    said = figures(["report", *second_day, "--policy", shop.name], capsys)

    assert said["recovered"]["renewals"] == 2
    assert [(row["attempt"], row["made"]) for row in said["attempts"]] == [(2, 2)]
    assert said["not_recovered"]["renewals"] == 0, "what failed before the span is no failure of the span"
    assert shop.requests("GET /api/order_copies") - reads == 4


def test_policies_are_rehearsed_beside_the_record(shop: Merchant, history, capsys) -> None:
    eager = RenewalPolicy(payment_retries=["12h", "1d"], stock_retries=[], max_renewals_per_day=1)
    asyncio.run(eager.asave(f"{shop.name}-eager"))
    both = ["--policy", shop.name, "--policy", f"{shop.name}-eager"]

    said = figures(["rehearse", *history, *both], capsys)

    assert said["recorded"] == {
        "renewals": 3, "attempts": 5, "renewed": 2, "waits": 0, "held": 1, "given_up": 0,
    }  # fmt: skip
    as_recorded, others = said["policies"].values()
    assert (as_recorded["attempts"], as_recorded["renewed"], as_recorded["result_not_known"]) == ([5, 5], [2, 2], 0)
    assert (others["attempts"], others["renewed"], others["result_not_known"]) == ([4, 5], [0, 0], 1)
    assert others["held"] == [2, 3], "the hard decline, the one without a retry, and perhaps the third"
    assert others["charges_put_off_for_a_cap"] == 1, "of the two that were recovered on one day"

    assert main(["rehearse", *history, *both]) == 0
    table = capsys.readouterr().out
    assert "3 renewals failed" in table
    assert "2 to 3" in table
    assert "No recovery is counted that was not made" in table


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (("2026-03-12", "2026-03-10"), "ends (2026-03-10) before it begins (2026-03-12)"),
        (("2026-03-12T06:00", "2026-03-12T06:00"), "it ends where it begins (2026-03-12T06:00Z)"),
        (("2199-01-01", "2199-01-31"), "in the future"),
    ],
)
@pytest.mark.parametrize("command", ["report", "rehearse"])
def test_a_span_in_which_nothing_can_have_happened_is_a_clear_error(
    shop: Merchant, command, span, said, capsys
) -> None:
    given = ["--from", span[0], "--to", span[1], "--credentials", shop.name, "--policy", shop.name]

    assert main([command, *given]) == 2

    assert said in capsys.readouterr().err


def test_what_is_unknown_or_missing_is_a_clear_error(shop: Merchant, capsys, tmp_path) -> None:
    span = ["--from", "2026-01-01", "--to", "2026-01-31"]
    for command in ("report", "rehearse"):
        assert main([command, *span, "--credentials", shop.name, "--policy", "no-such-policy"]) == 2
        assert "no RenewalPolicy block named 'no-such-policy'" in capsys.readouterr().err
        assert main([command, *span, "--credentials", "no-such-shop", "--policy", shop.name]) == 2
        assert "no CommerceLayerCredentials block named 'no-such-shop'" in capsys.readouterr().err
        assert main([command, "--to", "2026-01-31", "--policy", shop.name]) == 2
        assert "--from needs a value" in capsys.readouterr().err
    assert main(["rehearse", *span]) == 2
    assert "--policy needs a value" in capsys.readouterr().err
    nowhere = str(tmp_path / "missing" / "report.html")
    assert main(["report", *span, "--credentials", shop.name, "--policy", shop.name, "-o", nowhere]) == 2
    assert "There is no folder" in capsys.readouterr().err
    assert main(["report", *span, "--credentials", shop.name, "--policy", shop.name, "-o", str(tmp_path)]) == 2
    assert f"{tmp_path} cannot be written" in capsys.readouterr().err


def test_a_span_without_a_renewal_is_a_page_that_says_so(shop: Merchant, capsys, tmp_path: Path) -> None:
    page = tmp_path / "empty.html"
    given = ["--from", "2020-01-01", "--to", "2020-01-31", "--credentials", shop.name, "--policy", shop.name]

    assert main(["report", *given, "-o", str(page)]) == 0

    assert "No renewal was made or failed" in page.read_text(encoding="utf-8")
    assert main(["rehearse", *given]) == 0
    assert "0 renewals failed" in capsys.readouterr().out
