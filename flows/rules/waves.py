"""
Waves and the brake: a sweep renews a few subscriptions first, checks the results, and stops if they are bad.

Then a wrong price or an empty warehouse affects ten customers, not ten thousand. The next wave is larger only if the
results say enough about the shop: not if the first few were retries, or were renewed before.
"""

from collections import Counter
from dataclasses import dataclass

from blocks.policy import FailureClass, Policy
from flows.rules.results import RenewalResult
from flows.rules.state import RENEWED, Outcome


@dataclass(frozen=True, slots=True)
class BrakePulled:
    """Why nothing more is begun in this sweep. `cls` is set when one kind of failure was too frequent."""

    sentence: str
    cls: FailureClass | None = None


class Brake:
    """
    Watches the results of a sweep's renewals. Once pulled it stays pulled.

    The share counts first attempts only: most retries fail, and that says nothing about the shop. It is checked once as
    many results are counted as the first wave has. Copies that do not end in time count, too: a shop that accepts
    copies and never finishes them must not get all of them.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._finished = 0
        self._unfinished = 0
        self._failed: Counter[FailureClass] = Counter()
        self._unconfirmed_in_a_row = 0
        self._errors_in_a_row = 0
        self._refused_in_a_row = 0
        self._has_renewed = False
        self._pulled: BrakePulled | None = None

    def note(self, result: RenewalResult) -> None:
        """Count one more result, in the order of the results."""
        self._errors_in_a_row = 0
        self._count(result)
        self._pulled = self._pulled or self._look(result)

    def note_error(self, said: str) -> None:
        """Count a renewal that ended in an unexpected error."""
        self._errors_in_a_row += 1
        if self._errors_in_a_row >= self._policy.max_unconfirmed:
            in_words = f"{self._errors_in_a_row} renewals in a row ended in an unexpected error ({said})"
            self._pulled = self._pulled or BrakePulled(in_words)

    def note_record(self, refused: str | None) -> None:
        """Count whether a renewal could be recorded; if not, `refused` is Commerce Layer's message."""
        self._refused_in_a_row = self._refused_in_a_row + 1 if refused else 0
        if self._refused_in_a_row >= self._policy.max_unconfirmed:
            in_words = (
                f"{self._refused_in_a_row} records in a row were refused, so renewals are charged and not recorded"
            )
            self._pulled = self._pulled or BrakePulled(f"{in_words} ({refused})")

    @property
    def pulled(self) -> BrakePulled | None:
        """Why the sweep must stop; None while it may go on."""
        return self._pulled

    @property
    def counted(self) -> int:
        """First attempts that say something about the shop so far."""
        return self._finished + self._unfinished

    def _count(self, result: RenewalResult) -> None:
        self._has_renewed = self._has_renewed or result.outcome in RENEWED
        if self._says_nothing_new(result):
            return
        is_first = result.renewal.state.attempt == 0
        if result.outcome is Outcome.UNCONFIRMED:
            self._unconfirmed_in_a_row += 1
            return
        if result.outcome is Outcome.IN_PROGRESS:
            self._unfinished += is_first
            return
        self._unconfirmed_in_a_row = 0
        if not is_first:
            return
        if result.outcome in RENEWED or result.failure is not None:
            self._finished += 1
        if result.failure is not None:
            self._failed[result.failure.cls] += 1

    def _says_nothing_new(self, result: RenewalResult) -> bool:
        """Whether earlier runs could not settle it either, while others are renewed: then the shop is not the cause."""
        return self._has_renewed and result.renewal.state.unsettled_since is not None and result.outcome not in RENEWED

    def _look(self, result: RenewalResult) -> BrakePulled | None:
        if result.is_duplicate:
            return BrakePulled(f"one period is charged twice: {result.sentence}")
        if self._unconfirmed_in_a_row >= self._policy.max_unconfirmed:
            return BrakePulled(f"{self._unconfirmed_in_a_row} answers in a row were lost: Commerce Layer is in trouble")
        if self.counted < self._policy.first_wave:
            return None
        return self._too_many_failures() or self._too_many_unfinished()

    def _too_many_failures(self) -> BrakePulled | None:
        cls, count = self._failed.most_common(1)[0] if self._failed else (None, 0)
        # A share of 1 can never be exceeded: it switches this check off.
        if count <= self._policy.brake_share * self._finished:
            return None
        share = f"more than {self._policy.brake_share:.0%}"
        return BrakePulled(f"{count} of {self._finished} renewals failed for one reason ({cls}), {share}", cls)

    def _too_many_unfinished(self) -> BrakePulled | None:
        if self._unfinished <= self._policy.brake_share * self.counted:
            return None
        share = f"more than {self._policy.brake_share:.0%}"
        return BrakePulled(f"{self._unfinished} of {self.counted} order copies did not end in time, {share}")


class Waves:
    """How many renewals come next: a few until enough of them are counted, then more, then the rest."""

    def __init__(self, policy: Policy, brake: Brake) -> None:
        self._policy, self._brake = policy, brake
        self._grown = 0
        self._counted_before: int | None = None

    def next(self, left: int) -> int:
        """The size of the next wave, when `left` are left and the one before has ended."""
        counted = self._brake.counted
        # After a wave of retries alone, small waves make no sense: retries say nothing about the shop.
        if self._counted_before is not None and (counted >= self._policy.first_wave or counted == self._counted_before):
            self._grown += 1
        self._counted_before = counted
        return min(left, (self._policy.first_wave, self._policy.second_wave, left)[min(self._grown, 2)])
