"""The section ``detection:`` of model-config.yaml."""

from pathlib import Path
from typing import Any

import pytest

from handler.cores import available_cores, container_cores
from handler.gpu.settings import Graphs
from handler.settings import Settings


def test_without_a_section_the_defaults_hold() -> None:
    assert Settings.from_config({"minWorkers": 1, "batchSize": 8}) == Settings()


def test_every_key_is_read() -> None:
    section = {
        "score_threshold": 0.4,
        "mask_threshold": 0.6,
        "max_pixels": 1000,
        "max_pass_size": 4,
        "max_reply_bytes": 5000,
        "long_replies": "refuse",
        "threads": 3,
        "warm_up_sizes": [[480, 640], [640, 480]],
        "dtype": "float16",
        "tf32": True,
        "fusion": "optimized",
        "graphs": {"most": 5, "after": 2, "search": True},
        "decode_threads": 2,
        "fast_jpeg": True,
    }
    expected = Settings(
        score_threshold=0.4,
        mask_threshold=0.6,
        max_pixels=1000,
        max_pass_size=4,
        max_reply_bytes=5000,
        long_replies="refuse",
        threads=3,
        workers=2,
        warm_up_sizes=((480, 640), (640, 480)),
        dtype="float16",
        tf32=True,
        fusion="optimized",
        graphs=Graphs(5, 2, search=True),
        decode_threads=2,
        fast_jpeg=True,
    )
    assert Settings.from_config({"maxWorkers": 2, "detection": section}) == expected


def test_the_replies_of_a_batch_fit_into_one_message() -> None:
    assert Settings.from_config({"minWorkers": 1, "batchSize": 33}).max_reply_bytes == 1_000_000
    with pytest.raises(ValueError, match="max_reply_bytes must be at most 2062500 at this batchSize, got 4000000"):
        Settings.from_config({"batchSize": 16, "detection": {"max_reply_bytes": 4_000_000}})


@pytest.mark.parametrize(
    ("config", "most"),
    [
        ({}, 8),
        ({"batchSize": 4}, 4),
        ({"batchSize": 64}, 8),
        ({"batchSize": 4, "detection": {"max_pass_size": 16}}, 16),
    ],
)
def test_passes_are_no_larger_than_batches_unless_told(config: dict[str, Any], most: int) -> None:
    assert Settings.from_config(config).max_pass_size == most


@pytest.mark.parametrize(
    ("section", "text"),
    [
        (
            {"score_treshold": 0.5},
            "a key of detection must be one of decode_threads, dtype, .*'score_treshold'",
        ),
        ({"workers": 2}, "a key of detection must be one of .*got 'workers'"),
        ({"score_threshold": 1.5}, "score_threshold must be a number from 0 to 1, got 1.5"),
        ({"score_threshold": "high"}, "score_threshold must be a number from 0 to 1, got 'high'"),
        ({"mask_threshold": True}, "mask_threshold must be a number from 0 to 1, got True"),
        ({"max_pixels": 0}, "max_pixels must be an integer of at least 1, got 0"),
        ({"max_pass_size": 2.5}, "max_pass_size must be an integer of at least 1, got 2.5"),
        ({"max_reply_bytes": None}, "max_reply_bytes must be an integer of at least 1, got None"),
        ({"long_replies": "cut"}, "long_replies must be one of boxes, refuse, got 'cut'"),
        ({"threads": 0}, "threads must be auto or at least 1, got 0"),
        ({"threads": "all"}, "threads must be auto or at least 1, got 'all'"),
        ({"warm_up_sizes": [480, 640]}, r"warm_up_sizes must be a list of \[height, width\], got \[480, 640\]"),
        ({"warm_up_sizes": [[480]]}, r"warm_up_sizes must be a list of \[height, width\]"),
        ({"dtype": "half"}, "dtype must be one of float32, float16, bfloat16, got 'half'"),
        ({"tf32": 1}, "tf32 must be true or false, got 1"),
        ({"fusion": "all"}, "fusion must be auto or one of none, frozen, optimized, got 'all'"),
        ({"graphs": 3}, "graphs must be keys and values, got 3"),
        ({"graphs": {"least": 3}}, "a key of graphs must be one of after, most, search, got 'least'"),
        ({"graphs": {"most": -1}}, "graphs.most must be an integer of at least 0, got -1"),
        ({"graphs": {"after": 0}}, "graphs.after must be an integer of at least 1, got 0"),
        ({"graphs": {"search": 1}}, "graphs.search must be true or false, got 1"),
        ({"decode_threads": 0}, "decode_threads must be auto or at least 1, got 0"),
        ({"fast_jpeg": "yes"}, "fast_jpeg must be true or false, got 'yes'"),
        (["score_threshold"], r"detection must be keys and values, got \['score_threshold'\]"),
    ],
)
def test_what_does_not_fit_is_named(section: Any, text: str) -> None:
    with pytest.raises(ValueError, match=f"model-config.yaml: {text}"):
        Settings.from_config({"detection": section})


def test_workers_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="workers must be an integer of at least 1, got 'two'"):
        Settings.from_config({"minWorkers": "two"})


def test_threads_are_the_workers_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handler.settings.available_cores", lambda: 8)
    shares = {workers: Settings.from_config({"maxWorkers": workers}).thread_count() for workers in (1, 3, 8, 9)}
    assert shares == {1: 8, 3: 2, 8: 1, 9: 1}
    assert Settings.from_config({"detection": {"threads": "auto"}, "minWorkers": 2}).thread_count() == 4
    assert Settings.from_config({"detection": {"threads": 5}, "minWorkers": 2}).thread_count() == 5


def test_what_is_auto_is_decided_later() -> None:
    section = {"threads": "auto", "decode_threads": "auto", "fusion": "auto"}
    assert Settings.from_config({"minWorkers": 1, "detection": section}) == Settings()


def test_decoders_are_the_cores_of_the_worker_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handler.settings.available_cores", lambda: 32)
    counts = {
        workers: Settings.from_config({"maxWorkers": workers}).decode_thread_count() for workers in (1, 4, 8, 32, 64)
    }
    assert counts == {1: 8, 4: 8, 8: 4, 32: 1, 64: 1}
    assert Settings(decode_threads=12).decode_thread_count() == 12


def test_unstated_workers_are_one_a_core_as_torchserve_starts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handler.settings.available_cores", lambda: 8)
    assert Settings.from_config(None).thread_count() == 1
    assert Settings().thread_count() == 8  # outside a server there is one


def test_available_cores_are_counted() -> None:
    assert available_cores() >= 1


@pytest.mark.parametrize(
    ("text", "cores"), [("200000 100000\n", 2), ("150000 100000\n", 2), ("1000 100000\n", 1), ("max 100000\n", None)]
)
def test_the_quota_of_a_container_counts(tmp_path: Path, text: str, cores: int | None) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert container_cores(tmp_path / "cpu.max") == cores


def test_no_container_no_quota(tmp_path: Path) -> None:
    assert container_cores(tmp_path / "cpu.max") is None
