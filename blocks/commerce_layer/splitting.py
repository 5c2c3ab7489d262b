"""
Reading a page although one of its resources cannot be shown.

A page that cannot be read is read in halves, each of them in halves again, down to the one id that is to blame: its
neighbours are read all the same. Where nothing at all can be read it is the shop that is in trouble, and not one id.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from blocks.commerce_layer.errors import AccessDenied, CommerceLayerError, NotConnected, Throttled

T = TypeVar("T")
R = TypeVar("R")

UNREADABLE_IN_A_ROW = 3
"""Single resources that cannot be read, one after the other, after which the shop is to blame and not each of them."""


class Parts(Generic[T, R]):
    """
    What could be read of some items, and what could not.

    `read` holds the answer for each part. `unreadable` are single items with the reason. `left` are those that were
    not tried any more, because of `trouble`: then nothing is known about them.
    """

    def __init__(self, read_part: Callable[[Sequence[T]], Awaitable[R]]) -> None:
        self._read_part = read_part
        self._in_a_row = 0
        self.read: list[R] = []
        self.unreadable: dict[T, CommerceLayerError] = {}
        self.left: list[T] = []
        self.trouble: CommerceLayerError | None = None

    async def take(self, items: Sequence[T]) -> None:
        """Read these, in halves where that is necessary."""
        if self.trouble is not None:
            self.left += items
            return
        try:
            answer = await self._read_part(items)
        except (AccessDenied, NotConnected, Throttled) as error:
            self._give_up(items, error)
        except CommerceLayerError as error:
            await self._take_halves(items, error)
        else:
            self.read.append(answer)
            self._in_a_row = 0

    async def _take_halves(self, items: Sequence[T], error: CommerceLayerError) -> None:
        if len(items) > 1:
            half = len(items) // 2
            await self.take(items[:half])
            await self.take(items[half:])
            return
        self.unreadable[items[0]] = error
        self._in_a_row += 1
        if self._in_a_row >= UNREADABLE_IN_A_ROW:
            self._give_up((), error)

    def _give_up(self, items: Sequence[T], error: CommerceLayerError) -> None:
        self.trouble = error
        self.left += items
        if not self.read:  # nothing was readable, so none of them is worse than the others
            self.left += self.unreadable
            self.unreadable = {}


async def read_in_parts(items: Sequence[T], read_part: Callable[[Sequence[T]], Awaitable[R]]) -> Parts[T, R]:
    """
    Call `read_part` on all items, or on halves of them wherever it raises.

    An error that concerns all items (AccessDenied, NotConnected, Throttled) ends it at once. No CommerceLayerError
    comes through; see `Parts.trouble`.
    """
    parts = Parts(read_part)
    await parts.take(items)
    return parts
