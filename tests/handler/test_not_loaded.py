"""Reasons as clients read them."""

import errno
import json
from pathlib import Path

import pytest
import torch

from handler.not_loaded import MOST_CHARACTERS, SEE_THE_LOG, reason

FOLDER = Path("/tmp/models/0123456789abcdef")
TRACE = (
    "[enforce fail at inline_container.cc:196] . file in archive is not in a subdirectory\nframe #0: c10::Throw(char)"
)
REASONS: dict[str, tuple[BaseException, str, str]] = {
    "paths of the archive": (FileNotFoundError(2, "No such file", f"{FOLDER}/ops/a.so"), ": ops/a.so", "export the"),
    "other paths": (ImportError("cannot import name 'x' from 'y' (/opt/secret/y.py)"), "from 'y' (y.py)", "export the"),
    "frames of C++": (RuntimeError(TRACE), "is not in a subdirectory", SEE_THE_LOG),
    "no text": (MemoryError(), "loaded: MemoryError", "give it more memory"),
    "memory of PyTorch": (
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        "allocate",
        "give it more memory",
    ),
    "memory of a GPU": (torch.OutOfMemoryError("CUDA out of memory."), "CUDA out of memory.", "give it more memory"),
    "disk": (OSError(errno.ENOSPC, "No space left on device", "/tmp/x/y"), "No space left on device: y", "free some"),
    "unknown op": (RuntimeError("Unknown builtin op: maskrcnn::new"), "Unknown builtin op", "serve it with PyTorch"),
    "a package": (ModuleNotFoundError("No module named 'PIL'"), "No module named 'PIL'", "install what"),
    "one of ours": (ModuleNotFoundError("No module named 'ops.nms'"), "No module named 'ops.nms'", "export the"),
    "a library": (OSError("ops.so: libgomp.so.1: cannot open (a library that it needs)"), "libgomp", "install what"),
    "anything": (KeyError("a"), "KeyError: 'a'", SEE_THE_LOG),
}


@pytest.mark.parametrize(("error", "message", "hint"), REASONS.values(), ids=REASONS.keys())
def test_a_reason_is_one_line_without_paths(error: BaseException, message: str, hint: str) -> None:
    told = reason(error, FOLDER)
    assert message in told[0]
    assert hint in told[1]
    assert not [each for each in ("\n", "frame #", "/tmp", "/opt") if each in told[0]]


def test_a_long_reason_is_cut() -> None:
    assert len(reason(ValueError("x" * 5000), FOLDER)[0]) < MOST_CHARACTERS + 100


def test_another_pytorch_than_at_the_export_is_named(tmp_path: Path) -> None:
    card = tmp_path / "model_card.json"
    card.write_text(json.dumps({"versions": {"torch": "2.12.0"}}))
    expected = f"(exported with PyTorch 2.12.0, this is {torch.__version__})"
    assert reason(KeyError("a"), tmp_path)[0].endswith(expected)
    for text in ("[]", "{", json.dumps({"versions": {"torch": torch.__version__}})):
        card.write_text(text)
        assert reason(KeyError("a"), tmp_path)[0].endswith("KeyError: 'a'")
