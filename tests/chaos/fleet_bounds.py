"""
How often something may happen that was seen a few times, or never, in many trials.

The bound is the one-sided upper limit of Clopper and Pearson ("The use of confidence or fiducial limits illustrated in
the case of the binomial", Biometrika 26, 1934, pages 404 to 413): the largest probability p with which so few events,
or fewer, would still be seen in one of twenty series of trials. It solves

    sum over i from 0 to events of  C(trials, i) * p^i * (1 - p)^(trials - i)  =  1 - confidence

For no event it is 1 - (1 - confidence)^(1 / trials), about 3 / trials at 95 % ("rule of three": Hanley and
Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 249, 1983, pages 1743 to 1745).
"""

from __future__ import annotations

import math

CONFIDENCE = 0.95


def upper_bound(events: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """
    The probability that an event has at most, given how often it was seen: a share between 0 and 1.

    Raises:
        ValueError: there were no trials, or fewer than events.
    """
    if not 0 <= events <= trials or trials == 0:
        raise ValueError(f"{events} events in {trials} trials")
    if events == trials:
        return 1.0
    low, high = events / trials, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        if _seen_so_rarely(events, trials, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _seen_so_rarely(events: int, trials: int, p: float) -> float:
    """The probability of at most so many events, if each trial has one with probability `p` (between 0 and 1)."""
    return math.fsum(math.exp(_log_probability(count, trials, p)) for count in range(events + 1))


def _log_probability(events: int, trials: int, p: float) -> float:
    ways = math.lgamma(trials + 1) - math.lgamma(events + 1) - math.lgamma(trials - events + 1)
    return ways + (events * math.log(p) if events else 0.0) + (trials - events) * math.log1p(-p)
