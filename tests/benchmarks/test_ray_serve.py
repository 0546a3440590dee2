"""What the measurement of Ray Serve makes of its times. Needs no Ray."""

from typing import Any

import pytest

from benchmarks.ray_serve import added, notes, taking_turns


def test_the_ways_take_turns_and_the_first_round_is_not_counted() -> None:
    asked: list[str] = []
    ways = {way: lambda body, way=way: asked.append(f"{way}{body.decode()}") for way in "xy"}
    times = taking_turns(ways, [b"1", b"2"], rounds=2)
    assert asked == ["x1", "y1", "x2", "y2"] * 3
    assert {way: len(each) for way, each in times.items()} == {"x": 4, "y": 4}


def test_what_a_way_adds_is_told_picture_by_picture() -> None:
    assert added([13.0, 52.0, 11.0], [10.0, 50.0, 3.0]) == 3.0  # medians: 13 and 10; differences: 3, 2, 8


@pytest.mark.parametrize(("more", "verdict"), [(3.0, "within"), (3.2, "beyond")])
def test_the_notes_say_what_the_rows_say(more: float, verdict: str) -> None:
    alone: list[dict[str, Any]] = [{"way": "the worker alone", "added": 0.0}, {"way": "Ray Serve", "added": more}]
    replicas = [{"replicas": 1, "per_second": 10.0}, {"replicas": 2, "per_second": 19.0}]
    said = notes(alone, replicas)
    assert said == [
        f"Ray Serve adds {more:.1f} ms to a request, {verdict} the goal of 3 ms.",
        "2 replicas answer 1.90 times what one does.",
    ]
    assert len(notes(alone, replicas[:1])) == 1
