"""What the command says beside the load is believed only picture by picture."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.soak.cases import SIZES
from tests.soak.company import Company
from tests.soak.expected import Expected

Said = tuple[int, str, str]


def line(file: Path, score: float = 0.5) -> str:
    return json.dumps({"file": str(file), "detections": [{"score": score}]})


def right(files: list[Path]) -> Said:
    return 0, "\n".join(map(line, files)), ""


def asked(
    says: Callable[[list[Path]], Said], folder: Path, monkeypatch: pytest.MonkeyPatch, may_be_down: bool = False
) -> Company:
    """A company whose command said this once, as all was over."""

    def run(command: list[Any], **_: Any) -> Any:
        code, out, err = says([each for each in command if isinstance(each, Path) and each.suffix == ".jpg"])
        return SimpleNamespace(returncode=code, stdout=out, stderr=err)

    monkeypatch.setattr(subprocess, "run", run)
    server = SimpleNamespace(addresses=SimpleNamespace(inference_url="http://127.0.0.1:1"))
    place: Any = SimpleNamespace(server=server, key_file=lambda: folder / "key_file.json")
    expected = [Expected(200, "", json.dumps({"detections": [{"score": 0.5}]}).encode())] * SIZES
    with Company(place, folder / "pictures", list(expected), may_be_down) as company:
        pass
    return company


def test_right_answers_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    company = asked(right, tmp_path, monkeypatch)
    assert company.findings() == []
    assert company.asked == company.answered > 0


@pytest.mark.parametrize(
    "says",
    [
        lambda files: (0, "\n".join([line(files[0])] * len(files)), ""),
        lambda files: (0, "\n".join(map(line, files[1:])), ""),
        lambda files: (1, "\n".join(map(line, files)), "one was lost"),
        lambda files: (0, "\n".join(line(file, 0.6) for file in files), ""),
        lambda files: (0, "no JSON", ""),
        lambda files: (0, '{"detections": []}', ""),
        lambda files: (0, "", ""),
        lambda files: (2, "", "no server"),
    ],
    ids=["one file only", "one is missing", "exit code", "other score", "no JSON", "no file", "nothing", "no server"],
)
def test_what_is_wrong_is_found(
    says: Callable[[list[Path]], Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked(says, tmp_path, monkeypatch).findings() != []


def test_a_command_that_hangs_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(files: list[Path]) -> Said:
        raise subprocess.TimeoutExpired("client", 900)

    assert "TimeoutExpired" in asked(hangs, tmp_path, monkeypatch).findings()[0]


def test_a_server_that_may_be_down_is_not_down_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    company = asked(lambda files: (2, "", "no server"), tmp_path, monkeypatch, may_be_down=True)
    assert company.findings() != []
    answers = iter([(2, "", "no server")])
    company = asked(lambda files: next(answers, right(files)), tmp_path, monkeypatch, may_be_down=True)
    assert company.answered == company.asked
