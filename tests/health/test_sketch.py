"""The latency sketch, with the library of its inventors and numpy as oracles."""

from __future__ import annotations

import random
import struct

import numpy
import pytest
from ddsketch import DDSketch
from ddsketch.mapping import LogarithmicMapping
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from health import sketch

MAPPING = LogarithmicMapping(sketch.ALPHA)
SHARES = (0.05, 0.50, 0.95, 0.99, 1.0)
LATENCIES = st.lists(st.integers(1, 2**31 - 1), min_size=1, max_size=300)


def encode(values: list[int]) -> bytes:
    """What PostgreSQL writes, made by the library's mapping."""
    return b"".join(struct.pack(">hh", MAPPING.key(value), 1) for value in values)


def nearest_rank(values: list[int]) -> list[int]:
    return [int(value) for value in numpy.quantile(values, SHARES, method="inverted_cdf")]


@given(LATENCIES)
def test_quantiles__any_latencies__are_within_one_per_cent_of_numpy(values: list[int]) -> None:
    """HM-6: true percentiles, within the sketch's error (and the rounding to whole µs)."""
    found = sketch.quantiles(sketch.bins(encode(values)), SHARES)
    assert found is not None
    for got, true in zip(found, nearest_rank(values), strict=True):
        assert abs(got - true) <= sketch.ALPHA * true + 0.5


@given(LATENCIES)
def test_quantiles__any_latencies__are_those_of_the_library(values: list[int]) -> None:
    """HM-6: DDSketch as its inventors wrote it, at the same rank."""
    library = DDSketch(sketch.ALPHA)
    for value in values:
        library.add(value)
    ranks = [max(1, -(-int(share * 100) * len(values) // 100)) for share in SHARES]
    expected = tuple(max(1, round(MAPPING.value(library._store.key_at_rank(rank - 1)))) for rank in ranks)
    assert sketch.quantiles(sketch.bins(encode(values)), SHARES) == expected


@given(st.lists(LATENCIES, min_size=1, max_size=5))
def test_merge__of_any_sketches__is_their_concatenation(parts: list[list[int]]) -> None:
    """HM-6: merged percentiles are those of all latencies together, in whatever order they are merged."""
    whole = sketch.bins(encode([value for part in parts for value in part]))
    assert sketch.bins(b"".join(encode(part) for part in parts)) == whole
    assert sketch.bins(*(encode(part) for part in reversed(parts))) == whole


def test_bin__in_postgresql__is_that_of_the_library(db: None) -> None:
    """HM-6: SQL and Python speak of the same bins, from 1 µs to the half hour that the column holds."""
    draw = random.Random(7)
    values = [1, 2, 3, 2**31 - 1] + [int(2 ** draw.uniform(0, 31)) for _ in range(5000)]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {sketch.BIN_SQL} FROM unnest(%s::int[]) AS latency_us", [values])
        found = [row[0] for row in cursor.fetchall()]
    assert found == [MAPPING.key(value) for value in values]


def test_bin__of_no_time_and_of_no_reply__is_the_first_and_none(db: None) -> None:
    """HM-6: a reply faster than the clock can tell counts; a missing one does not."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {sketch.BIN_SQL} FROM (VALUES (0), (NULL::int)) AS sample (latency_us)")
        assert cursor.fetchall() == [(0,), (None,)]


def test_quantiles__without_a_latency__are_none() -> None:
    """HM-6: nothing was measured, so nothing is shown."""
    assert sketch.quantiles(sketch.bins(b"", b""), SHARES) is None


def test_quantiles__of_twelve__the_ninety_ninth_is_the_longest() -> None:
    """HM-6: nearest rank, and no value that was never measured."""
    found = sketch.quantiles(sketch.bins(encode([1000] * 11 + [50_000])), (0.5, 0.95, 0.99))
    assert found is not None
    assert found[0] == pytest.approx(1000, rel=sketch.ALPHA)
    assert found[1:] == (found[2], found[2])
    assert found[2] == pytest.approx(50_000, rel=sketch.ALPHA)


def test_bins__of_a_sketch_cut_off__is_refused() -> None:
    """Q-5: half a pair is not guessed at."""
    with pytest.raises(struct.error):
        sketch.bins(encode([1000, 2000])[:-1])
