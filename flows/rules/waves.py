"""
Waves and the brake: a sweep renews a few first, reads the verdicts, and stops when they are bad.

A wrong price or an empty warehouse then costs ten customers their patience, not ten thousand.
"""

from collections import Counter
from dataclasses import dataclass

from blocks.policy_terms import FailureClass, PolicyTerms
from flows.rules.outcomes import Judgement, Outcome


def waves(total: int, terms: PolicyTerms) -> list[int]:
    """The sizes of the waves that `total` renewals are made in: a few, some more, the rest."""
    first = min(terms.first_wave, total)
    second = min(terms.second_wave, total - first)
    return [size for size in (first, second, total - first - second) if size > 0]


@dataclass(frozen=True, slots=True)
class BrakePulled:
    """Why nothing more is created in this sweep. `cls` is set when one kind of failure was too frequent."""

    sentence: str
    cls: FailureClass | None = None


class Brake:
    """
    Watches the verdicts of a sweep. Once pulled it stays pulled.

    The share counts first attempts only: a retry is more likely to fail than not, and that says
    nothing about the shop. It is read from the size of the first wave on.
    """

    def __init__(self, terms: PolicyTerms) -> None:
        self._terms = terms
        self._finished = 0
        self._failed: Counter[FailureClass] = Counter()
        self._unconfirmed_in_a_row = 0
        self._errors_in_a_row = 0
        self._pulled: BrakePulled | None = None

    def note(self, judgement: Judgement) -> None:
        """Take one more verdict into account, in the order in which they were given."""
        self._errors_in_a_row = 0
        self._count(judgement)
        self._pulled = self._pulled or self._look(judgement)

    def note_error(self, said: str) -> None:
        """Take into account that working on a renewal ended in an error that nobody foresaw."""
        self._errors_in_a_row += 1
        if self._errors_in_a_row >= self._terms.max_unconfirmed:
            in_words = f"{self._errors_in_a_row} renewals in a row ended in an unexpected error ({said})"
            self._pulled = self._pulled or BrakePulled(in_words)

    def verdict(self) -> BrakePulled | None:
        """Why the sweep must stop creating; None while it may go on."""
        return self._pulled

    def _count(self, judgement: Judgement) -> None:
        if judgement.outcome is Outcome.UNCONFIRMED:
            self._unconfirmed_in_a_row += 1
            return
        if judgement.outcome is Outcome.IN_PROGRESS:
            return
        self._unconfirmed_in_a_row = 0
        if judgement.renewal.state.attempt > 0:
            return
        if judgement.outcome is Outcome.RENEWED or judgement.failure is not None:
            self._finished += 1
        if judgement.failure is not None:
            self._failed[judgement.failure.cls] += 1

    def _look(self, judgement: Judgement) -> BrakePulled | None:
        if judgement.is_duplicate:
            return BrakePulled(f"two order copies of one period were seen: {judgement.sentence}")
        if self._unconfirmed_in_a_row >= self._terms.max_unconfirmed:
            return BrakePulled(f"{self._unconfirmed_in_a_row} answers in a row were lost: Commerce Layer is in trouble")
        return self._too_many_failures()

    def _too_many_failures(self) -> BrakePulled | None:
        if not self._failed or self._finished < self._terms.first_wave:
            return None
        cls, count = self._failed.most_common(1)[0]
        # A share of 1 can never be exceeded, which is how it is switched off.
        if count <= self._terms.brake_share * self._finished:
            return None
        return BrakePulled(
            f"{count} of {self._finished} renewals failed for one reason ({cls}), "
            f"more than {self._terms.brake_share:.0%}",
            cls,
        )
