"""Latency sketches: DDSketch's logarithmic bins (Masson, Rim, Lee: DDSketch, VLDB 2019). Pure.

A latency of x µs falls into bin ceil(ln x / ln γ). Every latency of a bin lies within `ALPHA` of the bin's value, so
a quantile read from bins is within 1 % of the true one, of one minute as of a million merged ones.

A sketch is stored as pairs of 16-bit big-endian integers, bin and count, one after the other. So concatenation is
merging: PostgreSQL builds sketches and merges them by itself.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Mapping, Sequence

#: The largest relative error of a quantile.
ALPHA = 0.01
GAMMA = (1 + ALPHA) / (1 - ALPHA)
LN_GAMMA = math.log(GAMMA)
#: More of one bin in one sketch takes a second pair.
MOST_IN_PAIR = 32_767

#: The bin of a latency, as SQL over the column `latency_us` (NULL gives NULL); less than 1 µs counts as 1 µs.
BIN_SQL = f"ceil(ln((CASE WHEN latency_us < 1 THEN 1 ELSE latency_us END)::float8) / {LN_GAMMA!r}::float8)::int"


def bins(*sketches: bytes) -> Counter[int]:
    """How many latencies fell into each bin, over all these sketches.

    Raises struct.error if a sketch is cut off.
    """
    found: Counter[int] = Counter()
    for sketch in sketches:
        # Most pairs are alike (a bin seen once in a minute): counting whole pairs first is four times as fast.
        for pair, times in Counter(struct.unpack(f">{len(sketch) // 4}I", sketch)).items():
            found[pair >> 16] += (pair & 0xFFFF) * times
    return found


def quantiles(counted: Mapping[int, int], shares: Sequence[float]) -> tuple[int, ...] | None:
    """The quantiles of these bins in µs, each within `ALPHA` of the true one; None without any latency.

    By nearest rank, as PostgreSQL's percentile_disc and numpy's `inverted_cdf`: the smallest latency such that at
    least this share of all is no longer. So P99 of twelve is the longest. `shares`: ascending, above 0 up to 1.
    """
    total = sum(counted.values())
    if not total:
        return None
    found: list[int] = []
    passed = 0
    wanted = [_rank(share, total) for share in shares]
    for number in sorted(counted):
        passed += counted[number]
        while len(found) < len(wanted) and wanted[len(found)] <= passed:
            found.append(_value(number))
    return tuple(found)


def _rank(share: float, total: int) -> int:
    # 0.07 * 100 is a little more than 7 in floating point.
    return max(1, math.ceil(share * total - 1e-12 * total))


def _value(number: int) -> int:
    return max(1, round(2 * GAMMA**number / (GAMMA + 1)))
