"""Which of several order copies of one period counts, however they are listed."""

from collections import Counter
from itertools import permutations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules.making import copy, legacy, order, withdrawn
from rules.many_runs import Forgetful, Impatient, ManyRuns

from blocks.commerce_layer.resources import Order, OrderCopy
from flows.rules.order_copies import CopiesOfPeriod, is_moving, is_open, is_placed, is_undecided, is_withdrawn

REF = "SubAbcdefg@2026-03-01T06:00Z"
ENDED = ["completed", "failed", "aborted"]
STATUSES = ["pending", "in_progress", *ENDED, "teleporting"]


def made(number: int, status: str = "completed", target: str | Order | None = "draft", **fields) -> OrderCopy:
    """The copy made `number` seconds after the due instant, with an order of its own."""
    if isinstance(target, str):
        target = order(target, id=f"Tgt{number}")
    given = {"id": f"Cpy{number}", "created_at": f"2026-03-01T06:00:0{number}Z"}
    return copy(REF, status, target, **given | fields)


def ids(copies) -> list[str]:
    return [each.id for each in copies]


def test_the_earliest_copy_counts_and_the_later_ones_are_surplus():
    copies = CopiesOfPeriod.of([made(3), made(1), made(2)])
    assert copies.canonical == made(1)
    assert ids(copies.surplus) == ["Cpy2", "Cpy3"]
    assert (copies.placed, copies.ended) == ((), ())


def test_of_two_copies_made_at_the_same_moment_the_lower_id_counts():
    copies = CopiesOfPeriod.of([made(1, id="CpyB"), made(1, id="CpyA")])
    assert copies.canonical is not None
    assert copies.canonical.id == "CpyA"


def test_the_fraction_of_a_second_decides():
    later, earlier = made(1, created_at="2026-03-01T06:00:01.124Z"), made(2, created_at="2026-03-01T06:00:01.123Z")
    assert CopiesOfPeriod.of([later, earlier]).canonical == earlier


def test_a_copy_of_unknown_age_comes_last():
    copies = CopiesOfPeriod.of([made(1, created_at=None), made(2)])
    assert copies.canonical == made(2)
    assert ids(copies.surplus) == ["Cpy1"]


def test_without_copies_every_list_is_empty():
    assert CopiesOfPeriod.of([]) == CopiesOfPeriod((), (), ())
    assert CopiesOfPeriod.of([]).canonical is None
    assert CopiesOfPeriod.of([]).surplus == ()


@pytest.mark.parametrize("status", ["placed", "approved", "placing"])
def test_a_copy_whose_order_is_placed_counts_however_late_it_is(status):
    copies = CopiesOfPeriod.of([made(1), made(2, target=status), made(3, "in_progress", None)])
    assert copies.canonical is not None
    assert copies.canonical.id == "Cpy2"
    assert ids(copies.placed) == ["Cpy2"]
    assert ids(copies.surplus) == ["Cpy1"]


def test_an_order_that_staff_edit_after_it_was_placed_still_counts_as_placed():
    edited = made(1, target=order("editing", placed_at="2026-03-01T06:00:09Z"))
    assert CopiesOfPeriod.of([edited]).placed == (edited,)


@pytest.mark.parametrize("status", ["failed", "aborted"])
def test_after_a_failed_copy_the_next_one_counts(status):
    copies = CopiesOfPeriod.of([made(1, status, None), made(2)])
    assert copies.canonical == made(2)
    assert ids(copies.ended) == ["Cpy1"]
    assert copies.surplus == ()


def test_the_incomplete_order_of_a_failed_copy_is_surplus_whether_or_not_another_copy_counts():
    assert ids(CopiesOfPeriod.of([made(1, "failed"), made(2)]).surplus) == ["Cpy1"]
    assert ids(CopiesOfPeriod.of([made(1, "failed")]).surplus) == ["Cpy1"]


def test_a_failed_copy_of_version_0_1_that_has_an_order_is_still_live():
    failed = legacy(REF, "failed", order("pending"))
    assert CopiesOfPeriod.of([failed]).live == (failed,)
    assert CopiesOfPeriod.of([failed]).surplus == ()
    without_order = legacy(REF, "failed")
    assert CopiesOfPeriod.of([without_order]).ended == (without_order,)


def test_a_cancelled_order_ends_its_copy():
    cancelled = made(1, target="cancelled")
    copies = CopiesOfPeriod.of([cancelled, made(2)])
    assert (copies.ended, copies.canonical) == ((cancelled,), made(2))
    assert copies.surplus == ()


@pytest.mark.parametrize("first", [("in_progress", None), ("pending", None), ("in_progress", "draft")])
def test_as_long_as_the_canonical_copy_may_fail_the_others_keep_their_orders(first):
    assert CopiesOfPeriod.of([made(1, *first), made(2)]).surplus == ()


def test_a_copy_under_way_without_an_order_is_not_surplus_yet():
    assert CopiesOfPeriod.of([made(1), made(2, "in_progress", None)]).surplus == ()
    assert ids(CopiesOfPeriod.of([made(1), made(2, "in_progress", "draft")]).surplus) == ["Cpy2"]


def test_an_order_known_only_by_its_id_is_surplus_too():
    assert ids(CopiesOfPeriod.of([made(1), made(2, target=None, target_order_id="Tgt2")]).surplus) == ["Cpy2"]


@pytest.mark.parametrize(
    "undecided",
    [
        made(2, target="teleporting"),
        made(2, "failed", "teleporting"),
        made(2, target="editing"),
        made(2, target=None, target_order_id="Tgt2"),
        legacy(REF, "in_progress", id="Cpy2"),
        legacy(REF, "teleporting", order("pending"), id="Cpy2"),
        legacy(REF, "failed", order("teleporting"), id="Cpy2"),
    ],
)
@pytest.mark.parametrize("others", [[], [made(1)], [made(3)], [made(1, "failed", None)]])
def test_an_order_that_may_be_placed_without_us_is_awaited_before_any_other_is_placed(undecided, others):
    assert CopiesOfPeriod.of([*others, undecided]).awaited == undecided


@pytest.mark.parametrize(
    "copy",
    [made(2), made(2, "in_progress", None), made(2, "failed"), made(2, target="cancelled"), made(2, target=None)],
)
def test_an_order_that_cannot_be_placed_without_us_is_not_awaited(copy):
    assert CopiesOfPeriod.of([made(1), copy]).awaited is None


@pytest.mark.parametrize("status", ["placing", "teleporting", "editing", "placed", "cancelled"])
def test_an_order_that_may_be_placed_or_is_cancelled_is_never_cancelled_as_surplus(status):
    for later in (made(2, target=status), made(2, "failed", status)):
        assert later not in CopiesOfPeriod.of([made(1), later]).surplus


# --- cancelled orders ------------------------------------------------------------------------------


def test_an_order_that_we_cancelled_before_it_was_placed_was_withdrawn():
    assert is_withdrawn(withdrawn())
    assert not is_withdrawn(order("cancelled"))
    assert not is_withdrawn(order("draft", metadata={"perennial": {"withdrawn": "postponed"}}))
    assert not is_withdrawn(order("cancelled", metadata={"perennial": "withdrawn"}))


def test_an_order_that_was_placed_while_we_cancelled_it_was_not_withdrawn():
    both = withdrawn(placed_at="2026-03-01T06:00:09Z")
    assert not is_withdrawn(both)
    assert CopiesOfPeriod.of([made(1, target=both)]).refused == (made(1, target=both),)


def test_an_order_cancelled_outside_perennial_is_a_refusal_unless_an_earlier_copy_counts():
    refused = made(2, target="cancelled")
    assert CopiesOfPeriod.of([refused]).refused == (refused,)
    assert CopiesOfPeriod.of([refused, made(3)]).refused == (refused,)
    assert CopiesOfPeriod.of([made(1), refused]).refused == (), "a person cancelled a surplus order by hand"


def test_a_withdrawn_or_incomplete_order_is_no_refusal():
    assert CopiesOfPeriod.of([made(1, target=withdrawn()), made(2, "failed", "cancelled")]).refused == ()
    of_version_0_1 = legacy(REF, "failed", order("cancelled"))
    assert CopiesOfPeriod.of([of_version_0_1]).refused == (of_version_0_1,)


# --- any set of copies -----------------------------------------------------------------------------

TARGETS = st.sampled_from(
    [None, *("draft", "pending", "placing", "placed", "approved", "editing", "cancelled", "teleporting", "withdrawn")]
)


@st.composite
def any_copy(draw, number: int) -> OrderCopy:
    kind = draw(TARGETS)
    target = withdrawn(id=f"Tgt{number}") if kind == "withdrawn" else kind
    age = draw(st.sampled_from([1, 1, 2, 3, 4, 5, None]))
    return made(
        number,
        draw(st.sampled_from(STATUSES)),
        target,
        place_target_order=draw(st.booleans()),
        created_at=None if age is None else f"2026-03-01T06:00:0{age}Z",
    )


@st.composite
def some_copies(draw, at_most: int = 4) -> list[OrderCopy]:
    return [draw(any_copy(number)) for number in range(draw(st.integers(0, at_most)))]


@given(some_copies())
def test_the_order_in_which_copies_are_listed_does_not_matter(copies):
    answers = {
        (one, one.canonical, one.awaited, one.refused, one.surplus).__repr__()
        for one in map(CopiesOfPeriod.of, permutations(copies))
    }
    assert len(answers) == 1


@given(some_copies())
def test_each_copy_is_placed_or_live_or_ended(copies):
    sorted_out = CopiesOfPeriod.of(copies)
    assert sorted(ids(sorted_out.placed + sorted_out.live + sorted_out.ended)) == sorted(ids(copies))
    assert CopiesOfPeriod.of([*copies, *copies]) == sorted_out, "a copy that is listed twice is one copy"


@given(some_copies(), any_copy(9))
def test_the_canonical_copy_stays_when_a_later_one_appears(copies, later):
    before = CopiesOfPeriod.of(copies).canonical
    later = later.model_copy(update={"created_at": made(9).created_at})
    if before is not None and before.created_at is not None and not is_placed(later):
        assert CopiesOfPeriod.of([*copies, later]).canonical == before


@given(some_copies())
def test_what_is_surplus_is_neither_canonical_nor_placed_and_may_be_cancelled(copies):
    sorted_out = CopiesOfPeriod.of(copies)
    for surplus in sorted_out.surplus:
        assert surplus != sorted_out.canonical
        assert is_open(surplus)
        assert not is_placed(surplus)
        assert surplus.target_order is None or not is_moving(surplus.target_order)


@given(some_copies())
def test_once_the_surplus_is_cancelled_the_same_copy_counts_and_no_surplus_is_left(copies):
    before = CopiesOfPeriod.of(copies)
    cleaned = CopiesOfPeriod.of(
        each.model_copy(update={"target_order": withdrawn(id=each.target_order_id)}) if each in before.surplus else each
        for each in copies
    )
    assert cleaned.canonical == before.canonical
    assert cleaned.surplus == ()


@given(some_copies())
def test_an_order_that_may_be_placed_without_us_is_placed_or_awaited(copies):
    sorted_out = CopiesOfPeriod.of(copies)
    for each in copies:
        if is_undecided(each) and not is_placed(each) and not (each.target_order and each.target_order.is_placed):
            cancelled = each.target_order is not None and each.target_order.status == "cancelled"
            assert cancelled or sorted_out.awaited is not None


# --- any number of runs at once --------------------------------------------------------------------


def renew_at_once(runs: type[ManyRuns], seeds: range) -> Counter[str]:
    seen: Counter[str] = Counter()
    for seed in seeds:
        shop = runs(Random(seed))
        try:
            for _ in range(200):
                shop.step()
            shop.finish()
        except AssertionError as error:
            error.add_note(f"with seed {seed}, at {shop.now}")
            raise
        seen += shop.seen
        seen[f"{min(len(shop.past), 3)} copies"] += 1
    return seen


@pytest.mark.parametrize("chunk", range(4))
def test_concurrent_runs_place_at_most_one_order(chunk):
    seen = renew_at_once(ManyRuns, range(chunk * 150, chunk * 150 + 150))
    # Runs without these events would prove nothing.
    worth_seeing = ("Create", "Wait", "Place", "Conclude", "target_cancelled", "2 copies", "3 copies")
    worth_seeing += ("a placement arrives: placed", "a placement arrives: placing", "cancelled after it was placed")
    worth_seeing += ("renewed in the end", "held in the end")
    assert not [name for name in worth_seeing if seen[name] < 2], seen


@pytest.mark.parametrize("fault", [Impatient, Forgetful])
def test_a_run_or_a_shop_that_breaks_an_assumption_causes_a_double_charge(fault):
    with pytest.raises(AssertionError, match="charged twice"):
        renew_at_once(fault, range(2000))
