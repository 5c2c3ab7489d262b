"""Ids that look like Commerce Layer's: ten letters, unique, and the same for the same seed."""

from __future__ import annotations

# 44 of 44 recorded ids use letters only, and never U, I, c or f (recorded traffic of 24 Oct 2024).
LETTERS = "abdeghijklmnopqrstuvwxyzABCDEFGHJKLMNOPQRSTVWXYZ"
LENGTH = 10
_SPACE = len(LETTERS) ** LENGTH
_MULTIPLIER = 41_310_226_174_091_447  # odd and not divisible by 3: coprime to 48**10, so nothing repeats
_BASE = len(LETTERS) ** 2
_PAIRS = [first + second for first in LETTERS for second in LETTERS]


def id_number(number: int, seed: int) -> str:
    """The id with this number; every number gives another id."""
    value = (number * _MULTIPLIER + seed * 7_919_000_017 + 12_345_678_910_111) % _SPACE
    # Without a loop: a seed of many subscriptions spends much of its time here.
    value, fifth = divmod(value, _BASE)
    value, fourth = divmod(value, _BASE)
    value, third = divmod(value, _BASE)
    first, second = divmod(value, _BASE)
    return f"{_PAIRS[first]}{_PAIRS[second]}{_PAIRS[third]}{_PAIRS[fourth]}{_PAIRS[fifth]}"
