from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules.making import at

from flows.rules.state import RenewalState

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from([*RenewalState.model_fields, "color", "x"])


def test_a_subscription_without_the_key_is_not_adopted():
    assert RenewalState.read({}) is None
    assert RenewalState.read({"crm": {"id": 7}}) is None


def test_an_empty_object_is_a_fresh_adoption():
    assert RenewalState.read({"perennial": {}}) == RenewalState()


@given(json_values | st.dictionaries(names, json_values))
def test_nothing_that_json_can_hold_makes_reading_fail(stored):
    state = RenewalState.read({"perennial": stored})
    assert state is not None
    assert state.damaged is not None or isinstance(stored, dict) or stored == []


@given(st.dictionaries(names, json_values), st.dictionaries(st.text(), json_values))
def test_keys_of_other_systems_survive_a_write(stored, others):
    metadata = {**others, "perennial": stored}
    state = RenewalState.read(metadata)
    assert state is not None
    if state.damaged is not None:
        with pytest.raises(ValueError, match="not written back"):
            state.written_into(metadata)
        return
    written = state.written_into(metadata)
    assert {key: value for key, value in written.items() if key != "perennial"} == {
        key: value for key, value in others.items() if key != "perennial"
    }
    for name in ("color", "x"):
        assert written["perennial"].get(name, "absent") == stored.get(name, "absent")
    assert RenewalState.read(written) == state


def test_an_unknown_key_that_was_added_meanwhile_survives():
    state = RenewalState.read({"perennial": {"v": 1}})
    assert state.written_into({"perennial": {"v": 1, "note": "call her"}})["perennial"]["note"] == "call her"


def test_a_write_does_not_change_the_metadata_it_was_given():
    metadata = {"perennial": {"v": 1}}
    RenewalState(attempt=3).written_into(metadata)
    assert metadata == {"perennial": {"v": 1}}


@pytest.mark.parametrize(
    ("stored", "complaint"),
    [
        ({"v": 2}, "metadata.perennial.v = 2"),
        ({"period": 5}, "metadata.perennial.period = 5"),
        ({"period": "soon"}, "metadata.perennial.period = 'soon'"),
        ({"period": "2026-03-01T06:00"}, "metadata.perennial.period"),
        ({"attempt": -1}, "metadata.perennial.attempt = -1"),
        ({"copies": "many"}, "metadata.perennial.copies"),
        ({"done_through": "9999-12-31T23:59Z"}, "between the years 1970 and 2999"),
        ({"anchor": "0001-01-01T00:00+14:00"}, "between the years 1970 and 2999"),
        ({"attempts": [1]}, "metadata.perennial.attempts.0 = 1"),
    ],
)
def test_a_broken_object_is_damaged_and_says_where(stored, complaint):
    state = RenewalState.read({"perennial": stored})
    assert state is not None
    assert state.damaged is not None
    assert complaint in state.damaged


def test_a_stored_key_named_damaged_is_ignored():
    assert RenewalState.read({"perennial": {"damaged": "no"}}).damaged is None


def test_instants_are_written_in_utc_with_a_z():
    state = RenewalState(period=at("2026-03-01T06:00"), attempts=[datetime(2026, 3, 1, 6, 0, 7, 123, tzinfo=UTC)])
    written = state.written_into({})["perennial"]
    assert written["period"] == "2026-03-01T06:00Z"
    assert written["attempts"] == ["2026-03-01T06:00:07Z"]


def test_a_new_period_starts_afresh_and_keeps_the_earlier_charges():
    before = RenewalState(
        instance="a", policy={"catch_up": "all"}, period=at("2026-02-01"), done_through=at("2026-02-01"),
        outcome="renewed", attempt=3, copies=2, order_copy_id="x", target_order_id="y", error="z",
        attempts=[at("2026-02-03")],
    )  # fmt: skip
    fresh = before.for_period(at("2026-03-01"))
    assert (fresh.attempt, fresh.copies, fresh.outcome, fresh.order_copy_id, fresh.error) == (0, 0, None, None, None)
    assert (fresh.instance, fresh.policy, fresh.done_through) == ("a", {"catch_up": "all"}, at("2026-02-01"))
    assert fresh.attempts == before.attempts
    assert before.for_period(at("2026-02-01")) == before


def test_charges_older_than_thirty_days_do_not_count():
    state = RenewalState(attempts=[at("2026-03-01T00:01"), at("2026-02-01"), at("2026-03-01")])
    assert state.attempts_until(at("2026-03-31")) == [at("2026-03-01T00:01")]


def test_an_announcement_names_the_attempt_and_the_order_and_can_be_taken_back():
    before = RenewalState(period=at("2026-03-01T06:00"), outcome="retry_scheduled", attempt=1, flow_run_id="theirs")
    moment = at("2026-03-02T07:00")
    announced = before.announcing(2, "CpyAbcdefb", "TgtAbcdefg", moment, "ours")
    assert (announced.outcome, announced.attempt, announced.attempts) == ("placing", 2, [moment])
    assert (announced.order_copy_id, announced.target_order_id) == ("CpyAbcdefb", "TgtAbcdefg")
    assert announced.flow_run_id == "ours"
    assert announced.without_announcement(before) == before
    held = announced.model_copy(update={"held": True, "policy": {"catch_up": "all"}})
    assert held.without_announcement(before) == before.model_copy(update={"held": True, "policy": {"catch_up": "all"}})


def test_an_announcement_drops_attempts_older_than_thirty_days():
    before = RenewalState(attempts=[at("2026-01-01"), at("2026-02-20")])
    announced = before.announcing(1, "CpyAbcdefb", "TgtAbcdefg", at("2026-03-02"), None)
    assert announced.attempts == [at("2026-02-20"), at("2026-03-02")]


# --- what other systems write over it ----------------------------------------------------------------


@pytest.mark.parametrize("stored", [None, "yes", "", 0, 7, True, [1], ["perennial"]])
def test_a_key_that_holds_no_object_is_damaged_and_not_mistaken_for_not_adopted(stored):
    state = RenewalState.read({"perennial": stored})
    assert state is not None
    assert f"metadata.perennial = {stored!r}: it must be an object" in str(state.damaged)
    with pytest.raises(ValueError, match="not written back"):
        state.written_into({"perennial": stored})


def test_an_empty_list_is_an_empty_object_as_php_writes_it():
    assert RenewalState.read({"perennial": []}) == RenewalState()
    state = RenewalState.read({"perennial": {"failures": [], "policy": [], "attempts": []}})
    assert (state.damaged, state.failures, state.policy) == (None, {}, {})
    assert state.written_into({"perennial": []})["perennial"]["attempt"] == 0


def test_the_date_of_a_hold_is_kept_as_long_as_it_is_held_and_no_longer():
    held = RenewalState(held=True, held_since=at("2026-03-01T06:00"))
    paused = held.model_copy(update={"paused": True}).written_into({})
    assert RenewalState.read(paused).held_since == held.held_since
    released = held.model_copy(update={"held": False}).written_into(paused)
    assert RenewalState.read(released).held_since is None
