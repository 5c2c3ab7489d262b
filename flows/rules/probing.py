"""What `perennial probe` asks, and its answers as the switches of the sandbox."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

Value = str | float


class Question(Enum):
    """A question that the documentation does not answer."""

    PLACED_LATER = "Can the order of an unplaced copy be placed?"
    PLACED_TWICE = "Is an order that is placed twice charged once?"
    SHOWS_CARD = "Does an order take another card, and show it?"
    SHOWS_REFUSAL = "Does an order show that its placing was refused?"
    COPY_CHANGES = "Does an order stay as it is while it is copied?"
    EMPTY_PATCH = "Is a PATCH that changes nothing carried out?"
    COPY_PAYS = "Which card pays for a copy?"
    MISSING_CARD = "What if that card has left the wallet?"
    NATIVE_PAYS = "Which card pays for a run of Commerce Layer's engine?"
    CREATED_CARD = "Which card has a new subscription?"
    REFUSED_PLACE = "Does a refused _place keep the metadata that it sets?"
    FAILED_TARGET = "Which status has the order of a failed copy?"
    LIST_LAG = "How long do lists lag behind?"
    LATE_CREATIONS = "When can a new copy be read by its id?"
    QUEUE = "How long does a copy wait until it starts?"
    COPYING = "How long does a copy take then?"
    SPREAD = "By which share do copies differ in that?"
    WRITE_COUNTERS = "Are all writes counted together?"
    OCCURRENCIES = "Which runs does `occurrencies` count?"
    WITHOUT_CARD = "Does a subscription without a card become pending?"
    PAST_EXPIRY = "What becomes of a subscription that has expired?"
    META = "Where does an answer say `mode`?"
    ABORTED = "What does an aborted copy leave?"
    COUNT_BLOCKED = "Do refused requests prolong a block?"


SWITCHES: Mapping[Question, str] = {
    Question.PLACED_TWICE: "placed-again",
    Question.SHOWS_CARD: "shown-card",
    Question.SHOWS_REFUSAL: "refusal-shows",
    Question.COPY_CHANGES: "copied-source",
    Question.COPY_PAYS: "copy-pays",
    Question.MISSING_CARD: "missing-card",
    Question.NATIVE_PAYS: "native-pays",
    Question.CREATED_CARD: "created-card",
    Question.REFUSED_PLACE: "refused-place",
    Question.FAILED_TARGET: "failed-target",
    Question.LIST_LAG: "list-lag",
    Question.LATE_CREATIONS: "late-creations",
    Question.QUEUE: "queue-seconds",
    Question.COPYING: "copy-seconds",
    Question.SPREAD: "copy-spread",
    Question.WRITE_COUNTERS: "write-counters",
    Question.OCCURRENCIES: "occurrencies",
    Question.WITHOUT_CARD: "pending-without-card",
    Question.PAST_EXPIRY: "past-expiry",
    Question.META: "meta",
    Question.ABORTED: "aborted-leaves",
    Question.COUNT_BLOCKED: "count-blocked",
}
"""The sandbox's option for each answer. Two questions have none: there it says yes, unless a fault refuses."""

NEVER_ASKED: Mapping[Question, str] = {
    Question.ABORTED: "nothing is known that aborts a copy",
    Question.COUNT_BLOCKED: "it would take more requests than the limit of your address allows",
}


@dataclass(frozen=True)
class Found:
    """
    What was found out about a question: the answer in words, and the value of the sandbox's switch.

    `is_wrong`: Perennial needs another answer. If `value` is None and `said` is not an answer, nothing was found out.
    """

    question: Question
    said: str
    value: Value | None = None
    is_known: bool = True
    is_wrong: bool = False

    @property
    def switch(self) -> str:
        """The sandbox's option with its value; empty where there is none."""
        name = SWITCHES.get(self.question)
        if name is None or self.value is None:
            return ""
        return f"--{name} {self.value if isinstance(self.value, str) else f'{self.value:g}'}"


def not_found_out(question: Question, why: str) -> Found:
    """A question without an answer, and why."""
    return Found(question, f"not found out: {why}", is_known=False)


def settings_of(found: Iterable[Found]) -> dict[str, Value]:
    """The switches of the sandbox, as `--as` reads them; what was not found out is left at its default."""
    return {SWITCHES[each.question]: each.value for each in found if each.switch and each.value is not None}


class NoAnswer(Exception):  # noqa: N818 - the name says what happened
    """The shop did not behave so that a question has an answer; the message says why."""
