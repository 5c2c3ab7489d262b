import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules.making import at, copy, order, planned

from blocks.commerce_layer.errors import WriteFateUnknown
from flows.rules.dashboard_links import Dashboard
from flows.rules.findings import CopyEnded, OrderAnswered, PlacementRefused, StillRunning
from flows.rules.next_action import Place
from flows.rules.outcomes import result_of
from flows.rules.renewal import Skipped, SkipReason
from flows.rules.state import Outcome
from flows.rules.summaries import ROWS_KEPT, RenewalLine, RenewalSummary
from flows.rules.summary_tables import table_of

DASHBOARD = Dashboard("acme", "test")
NOW = at("2026-03-01T06:10")
REF = "SubAbcdefg@2026-03-01T06:00Z"


def line(finding) -> RenewalLine:
    return RenewalLine.of(result_of(planned(), finding, NOW))


def failed(text: str) -> RenewalLine:
    return line(CopyEnded(copy(REF, "failed", order("pending"), errors_log={"base": [text]})))


def skipped(reason: SkipReason) -> RenewalLine:
    return RenewalLine.of(Skipped("SubOtherxx", at("2026-03-01T06:00"), reason, "because"))


ATTEMPT = Place(copy(REF, "completed", order("pending")), order("pending"), 1)
RENEWED = line(OrderAnswered(ATTEMPT, order()))
ALREADY = line(CopyEnded(copy(REF, "completed", order())))
DECLINED, STOLEN = failed("declined"), failed("stolen_card")
RUNNING = line(StillRunning(copy(REF, "pending")))
LOST = line(PlacementRefused(ATTEMPT, WriteFateUnknown("PATCH", "/api/orders/TgtAbcdefg", "timeout")))
LINES = [RENEWED, ALREADY, DECLINED, STOLEN, RUNNING, LOST, skipped(SkipReason.HELD), skipped(SkipReason.DAMAGED)]


def test_a_line_says_what_happened_to_one_renewal():
    assert DECLINED.reference == REF
    assert DECLINED.failure_class == "payment"
    assert DECLINED.next_attempt_at == at("2026-03-02T06:10")
    assert (DECLINED.order_copy_id, DECLINED.target_order_id) == ("CpyAbcdefb", "TgtAbcdefg")
    assert not DECLINED.needs_person
    assert STOLEN.needs_person


def test_a_line_about_a_skipped_subscription_gives_the_reason():
    left = skipped(SkipReason.SECOND_ENGINE)
    assert (left.outcome, left.skip_reason, left.needs_person) == (Outcome.SKIPPED, SkipReason.SECOND_ENGINE, True)
    assert left.reference == "SubOtherxx@2026-03-01T06:00Z"
    assert RenewalLine.of(Skipped("SubOtherxx", None, SkipReason.NOT_ADOPTED, "because")).reference is None


def test_a_summary_counts_everything_once():
    summary = RenewalSummary.of(LINES, NOW, 12.5, {"POST": 4, "GET": 2})
    assert summary.total == len(LINES) == sum(summary.outcomes.values())
    assert summary.failures == {"payment": 2, "transient": 1}
    assert summary.skipped == {SkipReason.HELD: 1, SkipReason.DAMAGED: 1}
    assert summary.for_a_person == 2
    assert summary.requests == {"POST": 4, "GET": 2}


def test_the_sentence_is_in_plain_words():
    assert RenewalSummary.of(LINES, NOW).sentence == (
        "6 renewals: 1 renewed, 1 renewed by an earlier run, 1 waits for a retry, 1 still copying, "
        "1 unconfirmed, 1 needs attention, 1 held for a person, 1 skipped until a person acts; "
        "failures: 2 payment, 1 transient"
    )
    assert RenewalSummary.of([], NOW).sentence == "0 renewals"
    assert RenewalSummary.of([RENEWED], NOW).sentence == "1 renewal: 1 renewed"
    assert RenewalSummary.of([DECLINED] * 2, NOW, brake="too many").sentence == (
        "2 renewals: 2 wait for a retry; failures: 2 payment. Stopped: too many"
    )


@pytest.mark.parametrize(
    ("lines", "brake", "red"),
    [
        ([RENEWED, ALREADY, DECLINED, RUNNING, LOST, skipped(SkipReason.HELD)], None, False),
        ([RENEWED, STOLEN], None, True),
        ([RENEWED, skipped(SkipReason.SECOND_ENGINE)], None, True),
        ([RENEWED], "too many", True),
        ([], None, False),
    ],
)
def test_a_sweep_is_red_when_a_person_must_act(lines, brake, red):
    assert RenewalSummary.of(lines, NOW, brake=brake).needs_attention is red


def test_the_worst_comes_first_in_the_table():
    summary = RenewalSummary.of([RENEWED, DECLINED, STOLEN, LOST, skipped(SkipReason.DAMAGED)], NOW)
    rows = table_of(summary, DASHBOARD)
    assert [row["outcome"] for row in rows] == [
        "needs attention", "skipped", "unconfirmed", "retry scheduled", "renewed",
    ]  # fmt: skip
    assert rows[3]["next attempt"] == "2026-03-02T06:10Z"
    assert set(rows[0]) == set(rows[-1])


def test_a_long_table_is_cut_with_a_note_of_how_many_more():
    summary = RenewalSummary.of([RENEWED] * 1000 + [STOLEN], NOW)
    rows = table_of(summary, DASHBOARD)
    assert len(rows) == ROWS_KEPT + 1
    assert rows[0]["outcome"] == "needs attention"
    assert rows[-1]["why"] == "and 801 more, none worse than these"
    assert set(rows[-1]) == set(rows[0])
    assert summary.total == 1001


@given(st.lists(st.lists(st.sampled_from(LINES), max_size=120), max_size=5))
def test_the_batches_of_a_sweep_add_up_to_the_whole(batches):
    parts = [RenewalSummary.of(batch, NOW, 3, {"GET": len(batch)}) for batch in batches]
    together = RenewalSummary.together(parts, NOW, 9)
    every = [one for batch in batches for one in batch]
    whole = RenewalSummary.of(every, NOW, 9, {"GET": len(every)} if every else {})
    assert together == whole
    assert together.sentence == whole.sentence


def test_each_brake_of_the_batches_is_told_once():
    parts = [RenewalSummary.of([], NOW, brake=brake) for brake in ("a", None, "b", "a")]
    assert RenewalSummary.together(parts, NOW).brake == "a; b"


@pytest.mark.parametrize(
    ("surplus", "words"), [(0, ""), (1, "; 1 surplus copy cancelled"), (2, "; 2 surplus copies cancelled")]
)
def test_surplus_copies_are_mentioned_and_need_no_person(surplus, words):
    summary = RenewalSummary.of([RENEWED], NOW).model_copy(update={"surplus": surplus})
    assert summary.sentence == f"1 renewal: 1 renewed{words}"
    assert not summary.needs_attention


def test_the_surplus_copies_of_batches_add_up():
    parts = [RenewalSummary.of([], NOW).model_copy(update={"surplus": surplus}) for surplus in (1, 0, 2)]
    assert RenewalSummary.together(parts, NOW).surplus == 3


def test_the_overdue_renewals_of_batches_add_up():
    since = at("2026-02-01T06:00")
    part = RenewalSummary.of([DECLINED], NOW).model_copy(update={"overdue": 2, "overdue_since": since})
    later = RenewalSummary.of([], NOW).model_copy(update={"overdue": 1, "overdue_since": at("2026-02-09T06:00")})
    together = RenewalSummary.together([later, part], NOW)
    assert together.sentence == (
        "1 renewal: 1 waits for a retry; failures: 1 payment; 3 overdue, the oldest since 2026-02-01T06:00Z"
    )
    assert not together.needs_attention


def test_a_line_says_since_when_its_period_is_open():
    assert DECLINED.open_since == at("2026-03-01T06:00")
    assert RENEWED.open_since is None
    assert skipped(SkipReason.HELD).open_since == at("2026-03-01T06:00")
    assert skipped(SkipReason.EXPIRED).open_since is None


def test_a_period_that_is_charged_twice_needs_a_person_and_comes_first():
    twice = RenewalLine.charged_twice("SubAbcdefg", REF, "2 orders of one period are placed (#1, #2)")
    assert (twice.outcome, twice.needs_person, twice.reference) == (Outcome.NEEDS_ATTENTION, True, REF)
    summary = RenewalSummary.of([RENEWED, skipped(SkipReason.DAMAGED), twice], NOW)
    assert summary.needs_attention
    assert summary.rows[0] == twice


def test_an_order_that_was_placed_while_it_was_cancelled_is_shown_to_a_person_by_its_id():
    line = RenewalLine.cancelled_after_placing("TgtAbcdefg")
    assert (line.subscription_id, line.target_order_id) == ("order TgtAbcdefg", "TgtAbcdefg")
    assert RenewalSummary.of([line], NOW).needs_attention


def test_a_summary_survives_being_stored_as_json():
    summary = RenewalSummary.of(LINES, NOW, 1.5, {"GET": 1}, "too many").model_copy(update={"surplus": 2})
    assert RenewalSummary.model_validate(json.loads(summary.model_dump_json())) == summary
