"""How the threads that send are shared: no kind of channel may take all, and the urgent always find one (AD-14).

Kept by the dispatcher's thread alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence


class Shares:
    """What each kind of channel has under way, and how much more of what may be claimed.

    A kind has at most half of `threads`. The last eighth (at least two, at most a quarter) is for what is urgent alone,
    however many kinds hang; the very last thread for actions.
    """

    def __init__(self, threads: int, chunk: int) -> None:
        self._threads = threads
        self._most_of_a_kind = max(1, threads // 2)
        self._kept = min(max(2, threads // 8), threads // 4)
        #: Fewer free threads than this (never more than `chunk`) are not worth a claim while there is more to send.
        self.least = max(1, min(chunk, self._most_of_a_kind // 4))
        self._under_way: Counter[str] = Counter()

    @property
    def keeps_some(self) -> bool:
        """Whether there are threads for the urgent alone: with very few threads there are none."""
        return self._kept > 0

    @property
    def any_under_way(self) -> bool:
        """Whether anything is being sent, or waits for a thread."""
        return self._under_way.total() > 0

    def begin(self, kinds: Iterable[str]) -> None:
        """A thread is to send each of these."""
        self._under_way.update(kinds)

    def end(self, kinds: Iterable[str]) -> None:
        """They were sent, or are given back."""
        self._under_way.subtract(kinds)

    def room(self) -> int:
        """Threads that are free for anything."""
        return self._threads - self._kept - self._under_way.total()

    def urgent_room(self) -> int:
        """Threads that are free for what is urgent."""
        return self._threads - self._under_way.total()

    def full(self, least: int) -> list[str]:
        """The kinds that may have fewer than `least` threads more."""
        return [kind for kind, number in self._under_way.items() if number > self._most_of_a_kind - least]

    def most(self, room: int, full: Sequence[str]) -> int:
        """So many may be claimed at once that no kind gets more than its share, whatever they are."""
        shares = [self._most_of_a_kind - number for kind, number in self._under_way.items() if kind not in full]
        return min([room, self._most_of_a_kind, *shares])
