"""Sentences and summaries of renewals and manual copies while the stop switch is on."""

from __future__ import annotations

from rules.making import POLICY, at, planned

from flows.rules.findings import LeftAlone
from flows.rules.manual_copy import ManualCopy, ManualOutcome, manual_result
from flows.rules.renewal import Skipped, SkipReason
from flows.rules.stop_switch import StopSwitch
from flows.rules.summaries import RenewalLine, RenewalSummary
from flows.rules.work import not_charged

NOW = at("2026-03-01T06:10")
SWITCH = StopSwitch(is_stopped=True, reason="wrong prices", since=at("2026-03-01T06:00"))
SAID = "charging is stopped since 2026-03-01 06:00 UTC: wrong prices"
DAMAGED = Skipped("SubOtherxx", at("2026-03-01T06:00"), SkipReason.DAMAGED, "because")


def summary_of(*skipped: Skipped) -> RenewalSummary:
    lines = [RenewalLine.of(each) for each in skipped]
    return RenewalSummary.of(lines, NOW).model_copy(update={"charging_stopped": SAID})


def test_a_renewal_that_is_not_charged_needs_no_person_and_keeps_its_order() -> None:
    skipped = not_charged(planned(), SWITCH)

    assert skipped.due == planned().due
    assert skipped.settlement is None, "nothing is recorded"
    assert not skipped.reason.needs_person
    assert not skipped.reason.ends_the_renewal, "its order is not withdrawn"
    assert SAID in skipped.sentence


def test_the_message_begins_with_the_stop() -> None:
    summary = summary_of(not_charged(planned(), SWITCH))

    assert summary.headline == f"{SAID}; 0 renewals: 1 not charged"
    assert not summary.needs_attention


def test_what_needs_a_person_comes_before_the_stop() -> None:
    summary = summary_of(not_charged(planned(), SWITCH), DAMAGED)

    assert summary.headline.startswith(f"1 needs a person, {SAID}; 0 renewals: 1 not charged")
    assert summary.needs_attention


def test_a_sweep_says_that_charging_is_stopped_even_if_only_one_of_its_batches_was() -> None:
    batches = [RenewalSummary(as_of=NOW), summary_of(not_charged(planned(), SWITCH))]

    assert RenewalSummary.together(batches, NOW).charging_stopped == SAID


def test_a_manual_copy_is_left_unplaced_and_its_sentence_says_how_to_go_on() -> None:
    work = ManualCopy("SrcAbcdefg", "goodwill-1")

    result = manual_result(work, LeftAlone(not_charged(work, SWITCH)), POLICY)

    assert result.outcome is ManualOutcome.NOT_CHARGED
    assert result.sentence.startswith(SAID)
    assert "run this again with reference goodwill-1" in result.sentence
