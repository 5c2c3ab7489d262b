"""Ids that look like Commerce Layer's: ten letters, unique, and the same for the same seed."""

from __future__ import annotations

# 44 of 44 recorded ids use letters only, and never U, I, c or f (recorded traffic of 24 Oct 2024).
LETTERS = "abdeghijklmnopqrstuvwxyzABCDEFGHJKLMNOPQRSTVWXYZ"
LENGTH = 10
_SPACE = len(LETTERS) ** LENGTH
_MULTIPLIER = 41_310_226_174_091_447  # odd and not divisible by 3: coprime to 48**10, so nothing repeats
_PAIRS = [first + second for first in LETTERS for second in LETTERS]


def id_number(number: int, seed: int) -> str:
    """The id with this number; every number gives another id."""
    value = (number * _MULTIPLIER + seed * 7_919_000_017 + 12_345_678_910_111) % _SPACE
    pairs = []
    for _ in range(LENGTH // 2):
        value, pair = divmod(value, len(_PAIRS))
        pairs.append(_PAIRS[pair])
    return "".join(reversed(pairs))
