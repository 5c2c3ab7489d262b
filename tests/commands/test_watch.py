"""`perennial watch` with nothing but the shop's credentials: what it finds, and what it says when it cannot read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from meanwhile import patch
from merchant import Merchant
from prefect.settings import PREFECT_API_URL, temporary_settings
from sandbox_clock import SandboxClock

from blocks.commerce_layer.clock import use_clock
from blocks.sandbox.running import RunningSandbox
from flows.__main__ import main
from flows.cli.prefect_server import free_port

HOUR, DAY = 3600, 86_400
ADOPTED = {"v": 1}


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningSandbox]:
    """A shop whose credentials are in the environment, and a Prefect server that does not run."""
    with (
        RunningSandbox("--limits", "off", "--frozen") as running,
        temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}),
        use_clock(SandboxClock(running)),
    ):
        given = {
            "ORGANIZATION": running.organization, "CLIENT_ID": running.client_id, "API_URL": running.api_url,
            "CLIENT_SECRET": running.client_secret, "AUTH_URL": running.auth_url, "MODE": "test",
        }  # fmt: skip
        for name, value in given.items():
            monkeypatch.setenv(f"COMMERCE_LAYER_{name}", value)
        yield running


def watch(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the JSON output."""
    code = main(["watch", "--json", *options])
    return code, json.loads(capsys.readouterr().out)


def found(facts: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["alarm"], each["subscription_id"]) for each in facts["found"]]


def adopted(box: RunningSandbox, state: dict[str, Any] | None = None, *, days: float = -1, **members: Any) -> str:
    """An adopted subscription that is due `days` from now."""
    due = box.clock() + timedelta(days=days)
    given = {"metadata": {"perennial": {**ADOPTED, **(state or {})}}, "next_run_at": due.isoformat(), **members}
    return str(box.create_subscription(**given)["id"])


def touch(box: RunningSandbox, subscription_id: str) -> None:
    """Save the subscription without a change that matters to its renewal."""
    patch(Merchant(box), "order_subscriptions", subscription_id, reference="seen")


def ago(box: RunningSandbox, **since: float) -> str:
    return (box.clock() - timedelta(**since)).isoformat()


def test_watch_finds_nothing_in_a_shop_without_trouble_and_counts_its_subscriptions(
    box: RunningSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        adopted(box, days=3)
    box.create_subscription(adopted=False)

    code, facts = watch(capsys)

    assert (code, facts["found"], facts["subscriptions"]) == (0, [], 4)
    assert facts["sentence"] == "nothing is overdue or left unfinished; 4 subscriptions looked at"
    assert (facts["organization"], facts["mode"]) == (box.organization, "test")


def test_a_renewal_that_no_sweep_attempts_is_found_with_a_way_out_and_a_link(
    box: RunningSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    due = adopted(box, {"done_through": ago(box, days=31)}, days=-0.2)
    assert watch(capsys)[0] == 0
    box.advance(3 * HOUR)

    code, facts = watch(capsys)

    assert (code, found(facts)) == (1, [("overdue", due)])
    (one,) = facts["found"]
    assert "is the schedule on, a worker running" in one["sentence"]
    assert one["link"] == f"https://dashboard.commercelayer.io/test/{box.organization}/apps/subscriptions/list/{due}"
    assert watch(capsys, "--overdue", "1d")[0] == 0


def test_an_hourly_subscription_is_overdue_since_its_first_missed_period(
    box: RunningSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    hourly = adopted(box, {"done_through": ago(box, hours=9)}, days=-8 / 24, frequency="hourly")

    assert found(watch(capsys)[1]) == [("overdue", hourly)]


def test_a_subscription_that_has_just_been_adopted_released_or_settled_raises_no_alarm(
    box: RunningSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    touch(box, adopted(box, days=-20))
    touch(box, adopted(box, {"period": ago(box, days=20), "outcome": "exhausted", "attempt": 5}, days=-20))
    renewed = {"period": ago(box, days=20), "done_through": ago(box, days=20), "outcome": "renewed"}
    touch(box, adopted(box, renewed, days=-20, frequency="weekly"))  # and another period is due already

    assert watch(capsys)[0] == 0
    box.advance(7 * HOUR)
    assert [alarm for alarm, _ in found(watch(capsys)[1])] == ["overdue"] * 3


def test_a_retry_that_no_sweep_makes_is_found(box: RunningSandbox, capsys: pytest.CaptureFixture[str]) -> None:
    waiting = {"period": ago(box, days=3), "outcome": "retry_scheduled", "attempt": 1}
    late = adopted(box, {**waiting, "next_attempt_at": ago(box, hours=7)}, days=-3)
    adopted(box, {**waiting, "next_attempt_at": ago(box, hours=-7)}, days=-3)

    assert found(watch(capsys)[1]) == [("retry overdue", late)]


def test_a_renewal_that_no_run_can_settle_is_found_after_the_policys_time(
    box: RunningSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = {"period": ago(box, days=3), "outcome": "unconfirmed"}
    stuck = adopted(box, {**lost, "unsettled_since": ago(box, days=2)}, days=-3)
    copying = {**lost, "outcome": "in_progress", "under_way_since": ago(box, days=2)}
    slow = adopted(box, copying, days=-3)
    adopted(box, {**lost, "unsettled_since": ago(box, hours=2)}, days=-3)

    assert sorted(found(watch(capsys)[1])) == sorted([("stuck", stuck), ("stuck", slow)])


def test_a_subscription_that_is_held_for_long_is_found_and_a_paused_one_is_not(
    box: RunningSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    held = adopted(box, {"period": ago(box, days=1), "outcome": "needs_attention", "held": True, "error": "declined"})
    by_hand = adopted(box, {"held": True})
    settled = {"period": ago(box, days=27), "done_through": ago(box, days=27), "outcome": "renewed"}
    after_a_renewal = adopted(box, {**settled, "held": True}, days=3)
    adopted(box, {"paused": True})
    for each in (held, by_hand, after_a_renewal):
        touch(box, each)

    assert found(watch(capsys)[1]) == []
    box.advance(15 * DAY)

    assert sorted(found(watch(capsys)[1])) == sorted(("held", each) for each in (held, by_hand, after_a_renewal))
    assert watch(capsys, "--held", "3w")[0] == 0


def test_a_hold_grows_old_although_another_system_saves_the_subscription_every_night(
    box: RunningSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    waits = {"period": ago(box, days=40), "outcome": "exhausted", "held": True}
    dated = adopted(box, {**waits, "held_since": ago(box, days=13)}, days=-40)
    undated = adopted(box, {**waits, "period": ago(box, days=13)}, days=-13)
    by_hand = adopted(box, {"held": True}, days=-13)
    touch(box, by_hand)

    assert found(watch(capsys)[1]) == []
    box.advance(2 * DAY)
    for each in (dated, undated, by_hand):
        touch(box, each)

    assert sorted(found(watch(capsys)[1])) == sorted(("held", each) for each in (dated, undated, by_hand))


@pytest.mark.parametrize(
    ("members", "alarm"),
    [
        ({"status": "active"}, "not inactive"),
        ({"metadata": {"perennial": {"v": 9}}}, "state damaged"),
        ({"metadata": {"perennial": "yes"}}, "state damaged"),
        ({"frequency": "fortnightly"}, "cannot be renewed"),
    ],
)
def test_an_adopted_subscription_that_no_sweep_can_renew_is_found(
    box: RunningSandbox, capsys: pytest.CaptureFixture[str], members: dict[str, Any], alarm: str
) -> None:
    odd = adopted(box, days=-1, **members)

    assert found(watch(capsys)[1]) == [(alarm, odd)]


def test_an_unreadable_subscription_is_named_and_the_others_are_still_checked(
    box: RunningSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [adopted(box, {"done_through": ago(box, days=31)}) for _ in range(30)]
    box.fault("status", status=500, path="/api/order_subscriptions", match="frequency.*status_not_eq")
    box.fault("status", status=500, path="/api/order_subscriptions", match=f"id_in.*{ids[7]}")

    code, facts = watch(capsys)

    assert code == 1
    assert sorted(found(facts)) == sorted(("unreadable" if each == ids[7] else "overdue", each) for each in ids)


def test_one_read_is_enough_for_25_subscriptions(box: RunningSandbox, capsys: pytest.CaptureFixture[str]) -> None:
    box.seed(100, due=ago(box, days=-9))
    box.reset_counters()

    assert watch(capsys)[0] == 0

    requests = box.counters()["requests"]
    assert requests.pop("GET /api/order_subscriptions") == 4
    assert requests.pop("GET /api/order_copies") == 2
    assert set(requests) <= {"POST /oauth/token"}, "it only reads"


@pytest.mark.parametrize(
    ("variable", "value", "code", "words"),
    [
        ("CLIENT_SECRET", "", 2, "set COMMERCE_LAYER_CLIENT_SECRET"),
        ("MODE", "production", 2, "'production': it must be test or live"),
        ("API_URL", "http://example.com/api", 2, "COMMERCE_LAYER_API_URL"),
        ("MODE", "live", 3, "mode is 'test', but 'live' is expected"),
        ("ORGANIZATION", "somebody-else", 3, "'somebody-else' is expected"),
        ("CLIENT_SECRET", "a-wrong-secret", 3, "refuses these credentials"),
        ("AUTH_URL", "http://127.0.0.1:9/oauth/token", 4, "cannot be looked at"),
        ("API_URL", "http://127.0.0.1:9/api", 4, "cannot be reached"),
    ],
)
def test_a_shop_that_cannot_be_checked_is_an_error(
    box: RunningSandbox,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    code: int,
    words: str,
) -> None:
    monkeypatch.setenv(f"COMMERCE_LAYER_{variable}", value)

    assert main(["watch", "--json"]) == code

    said = capsys.readouterr()
    assert words in said.err
    assert json.loads(said.out) == {"error": said.err.strip(), "exit_code": code}
    assert "a-wrong-secret" not in said.err


def test_revoked_credentials_are_reported_in_clear_words(
    box: RunningSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    box.fault("status", status=401, body="json", path="/api/*")

    assert main(["watch"]) == 3
    assert "the shop refuses these credentials" in capsys.readouterr().err


def test_a_credentials_block_needs_its_prefect_server(box: RunningSandbox, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "--credentials", "commerce-layer"]) == 4
    assert "PREFECT_API_URL" in capsys.readouterr().err


def test_the_table_shows_markup_as_text_and_no_control_characters_in_120_columns(
    box: RunningSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "[red]all is well[/] \x1b[2J<b>\u202egnp"
    held = {"period": ago(box, days=1), "outcome": "needs_attention", "held": True, "error": text}
    adopted(box, held)
    box.advance(20 * DAY)

    assert main(["watch"]) == 1

    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert "[red]all is well[/]" in " ".join(said.split())
    assert max(map(len, said.splitlines())) > 80
    assert max(map(len, said.splitlines())) <= 120


@pytest.mark.parametrize("wrong", ["soon", "6", "-1d"])
def test_a_duration_that_cannot_be_read_is_quoted(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", f"--overdue={wrong}"]) == 2
    assert repr(wrong) in capsys.readouterr().err
