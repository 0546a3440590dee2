"""Sizes that repeat, and how much of them is padding."""

import pytest

from handler.gpu.buckets import batch_bucket, batch_buckets, batch_parts, row_bucket, row_buckets


@pytest.mark.parametrize(
    ("most", "expected"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8]), (9, [1, 2, 4, 8, 9])]
)
def test_batches_are_powers_of_two_and_the_most(most: int, expected: list[int]) -> None:
    assert batch_buckets(most) == expected
    assert all(batch_bucket(count, most) in expected for count in range(1, most + 1))


def test_passes_are_cut_where_padding_would_waste_more_than_a_quarter() -> None:
    parts = {count: batch_parts(count, 8) for count in range(1, 9)}
    assert parts == {1: [1], 2: [2], 3: [3], 4: [4], 5: [4, 1], 6: [6], 7: [7], 8: [8]}
    assert batch_parts(11, 16) == [8, 3]


@pytest.mark.parametrize("most", [1, 3, 5, 8, 12, 16, 33])
def test_parts_hold_all_pictures_and_little_padding(most: int) -> None:
    for count in range(1, most + 1):
        parts = batch_parts(count, most)
        assert sum(parts) == count
        assert all(part >= 0.75 * batch_bucket(part, most) for part in parts)


def test_rows_are_padded_by_a_quarter_at_most() -> None:
    assert [row_bucket(count) for count in (1, 8, 9, 64, 65, 100, 129, 800)] == [8, 8, 16, 64, 80, 112, 160, 896]
    assert all(count <= row_bucket(count) <= max(count * 1.25, count + 7) for count in range(1, 3000))
    assert len(row_buckets(800)) < 30
