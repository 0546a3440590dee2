"""No file runs code, takes much memory, takes long or raises anything but an ExportError."""

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from export.checkpoint import load_checkpoint
from export.errors import ExportError
from export.reading import pickle_machine
from tests.export.hostile import archives, pickles

ROOT = Path(__file__).parents[3]
GREEDY = {f"pickle: {name}": case for name, case in pickles.greedy().items()} | {
    f"torch: {name}": case for name, case in archives.greedy().items()
}
# What reading one hostile file may take: Python's own buffers and a first import on the way, no more.
MEMORY = 64 * 1024**2
READER = """
import json, pathlib, resource, sys, time
from export.checkpoint import load_checkpoint
from export.errors import ExportError
in_use = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + int(sys.argv[2]),) * 2)
said = {}
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    start = time.process_time()
    try:
        load_checkpoint(path)
        text = "loaded"
    except ExportError as error:
        text = str(error)
    said[path.name] = (text, time.process_time() - start)
print(json.dumps(said))
"""


@pytest.fixture
def bait(tmp_path: Path) -> Iterator[str]:
    """A folder that hostile files make where they get to run; it does not exist."""
    folder = tmp_path / "bait"
    yield str(folder)
    assert not folder.exists()


def written(content: bytes, folder: Path) -> Path:
    path = folder / "weights.pkl"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", pickles.running("/nowhere"))
def test_no_pickle_runs_code(name: str, bait: str, tmp_path: Path) -> None:
    content = pickles.running(bait)[name]
    pickle.loads(content)
    os.rmdir(bait)  # made: the file is as hostile as it says
    with pytest.raises(ExportError, match="would run code|may run code"):
        load_checkpoint(written(content, tmp_path))


@pytest.mark.parametrize("name", archives.running("/nowhere"))
def test_no_torch_file_runs_code(name: str, bait: str, tmp_path: Path) -> None:
    path = written(archives.running(bait)[name], tmp_path)
    torch.load(path, weights_only=False)
    os.rmdir(bait)  # made: the file is as hostile as it says
    with pytest.raises(ExportError, match=r"holds a (posix|os)\.mkdir, .*torch\.save\(model\.state_dict"):
        load_checkpoint(path)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, float]]:
    """What is said of each greedy file, by a process that may take little memory, and the processor's seconds."""
    folder = tmp_path_factory.mktemp("greedy")
    for name, (content, _) in GREEDY.items():
        (folder / name).write_bytes(content)
    command = [sys.executable, "-c", READER, str(folder), str(MEMORY)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert process.returncode == 0, process.stderr
    answers: dict[str, tuple[str, float]] = json.loads(process.stdout)
    return answers


@pytest.mark.parametrize("name", GREEDY)
def test_refuses_within_little_memory_and_time(name: str, said: dict[str, tuple[str, float]]) -> None:
    text, seconds = said[name]
    assert re.search(GREEDY[name][1], text), text
    assert text.isprintable()
    assert len(text) < 700
    assert seconds < 5


@pytest.mark.parametrize("name", pickles.harmless())
def test_reads_what_only_looks_hostile(name: str, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(written(pickles.harmless()[name], tmp_path))
    assert {name: tensor.tolist() for name, tensor in checkpoint.tensors.items()} == {"a": [1.0]}


def test_ends_a_program_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_machine, "MOST_INSTRUCTIONS", 1000)
    path = written(pickles.whole(1000 * (pickle.NONE + pickle.POP) + pickles.entry(pickles.ONE)), tmp_path)
    with pytest.raises(ExportError, match="takes more than 1000 instructions"):
        load_checkpoint(path)


def test_refuses_a_pickled_module(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"holds a torch\.nn\.modules\.linear\.Linear, .*model\.state_dict"):
        load_checkpoint(written(archives.pickled_module(), tmp_path))


def samples() -> dict[str, bytes]:
    """One small file of each layout."""
    four, one = np.float32(1).tobytes(), pickles.small(1)
    program = {
        legacy: pickles.whole(pickles.entry(archives.tensor(archives.storage(one, legacy=legacy), one, one)))
        for legacy in (False, True)
    }
    return {
        "zip": archives.archive(program[False], s0=four),
        "legacy": archives.legacy(program[True], ["0"], (1, four)),
        "pickle 0": pickle.dumps({"a": np.ones(1, "f4")}, 0),
        "pickle 2": pickles.whole(pickles.entry(pickles.ONE)),
        "pickle 5": pickle.dumps({"a": np.ones(1, "f4")}, 5),
    }


@pytest.mark.parametrize("layout", samples())
def test_whole_samples_are_read(layout: str, tmp_path: Path) -> None:
    assert load_checkpoint(written(samples()[layout], tmp_path)).tensors["a"].tolist() == [1.0]


@pytest.mark.parametrize("layout", samples())
def test_a_file_that_is_cut_off_anywhere_is_refused(layout: str, tmp_path: Path) -> None:
    content = samples()[layout]
    for length in range(len(content)):
        with pytest.raises(ExportError):
            load_checkpoint(written(content[:length], tmp_path))


@pytest.mark.parametrize("layout", samples())
def test_a_wrong_byte_anywhere_is_refused_or_harmless(layout: str, tmp_path: Path) -> None:
    content = samples()[layout]
    refused = 0
    for position in range(len(content)):
        wrong = bytearray(content)
        wrong[position] ^= 0xFF if position % 2 else 0x01
        try:
            load_checkpoint(written(bytes(wrong), tmp_path))
        except ExportError:
            refused += 1
    assert refused > len(content) // 3
