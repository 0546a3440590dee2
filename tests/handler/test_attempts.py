"""Loads that never came to an end, noticed by the next one."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from handler import attempts
from handler.attempts import FOLDER, MOST, Attempts, EndedWhileLoadingError

CRASH = "import os; from pathlib import Path; from handler.attempts import Attempts\n"
CRASH += "with Attempts(Path({!r})).counted(): os._exit(9)"


def crash(folder: Path, times: int = 1) -> None:
    """Loads in processes of their own, as a server starts them, which end in the middle."""
    for _ in range(times):
        assert subprocess.run([sys.executable, "-c", CRASH.format(str(folder))], check=False).returncode == 9
    for each in (folder / FOLDER).iterdir():  # to the next one, these are siblings, not children
        each.rename(each.with_name(f"{os.getppid()}-{each.name.split('-')[1]}"))


def loads(folder: Path, startup_timeout: float | None = None) -> bool:
    with Attempts(folder, startup_timeout).counted():
        return True


def files(folder: Path) -> list[str]:
    return sorted(each.suffix for each in (folder / FOLDER).iterdir())


def test_a_load_that_ends_leaves_nothing_but_its_success(tmp_path: Path) -> None:
    assert loads(tmp_path)
    assert loads(tmp_path)
    assert files(tmp_path) == [".loaded"]


def test_a_load_that_raises_is_not_counted(tmp_path: Path) -> None:
    for _ in range(MOST + 1):
        with pytest.raises(ValueError, match="a reason"), Attempts(tmp_path).counted():
            raise ValueError("a reason")
    assert files(tmp_path) == []


def test_after_some_that_were_killed_the_next_one_says_so_and_the_one_after_tries_again(tmp_path: Path) -> None:
    crash(tmp_path, MOST - 1)
    with Attempts(tmp_path).counted():
        assert files(tmp_path) == [".loading"] * MOST  # one fewer is no reason yet; its success forgets them
    assert files(tmp_path) == [".loaded"]
    (tmp_path / FOLDER / f"{os.getppid()}-{os.getpid()}.loaded").unlink()
    crash(tmp_path, MOST)
    with pytest.raises(EndedWhileLoadingError, match="3 workers were killed or crashed"):
        loads(tmp_path)
    assert loads(tmp_path)


def test_while_another_worker_answers_the_server_may_go_on_trying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash(tmp_path, MOST)
    monkeypatch.setattr(attempts, "_parent", lambda pid: str(os.getppid()))  # it is no child of whoever runs this
    living = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (tmp_path / FOLDER / f"{os.getppid()}-{living.pid}.loaded").touch()
    try:
        assert loads(tmp_path)
    finally:
        living.communicate(b"\n")


def test_one_that_took_too_long_is_enough(tmp_path: Path) -> None:
    crash(tmp_path)
    (dead,) = (tmp_path / FOLDER).iterdir()
    os.utime(dead, (time.time() - 50, time.time() - 50))
    assert loads(tmp_path, startup_timeout=60)
    crash(tmp_path)
    (tmp_path / FOLDER / f"{os.getppid()}-{os.getpid()}.loaded").unlink()
    (dead,) = (tmp_path / FOLDER).iterdir()
    os.utime(dead, (time.time() - 70, time.time() - 70))
    with pytest.raises(EndedWhileLoadingError, match="startupTimeout, 60 s"):
        loads(tmp_path, startup_timeout=60)


@pytest.mark.parametrize(
    ("ages", "said"),
    [
        ([3600], None),  # long ago
        ([280], None),  # one alone, that was not slow
        ([320, 160], "2 workers were killed"),  # at this pace TorchServe gives up before a third
        ([360, 240, 120], "3 workers were killed"),
        ([700, 310], "startupTimeout, 300 s"),
        ([700, 395], "2 workers were killed"),
    ],
)
def test_what_is_said_of_loads_that_died(ages: list[int], said: str | None, tmp_path: Path) -> None:
    crash(tmp_path, len(ages))
    for dead, age in zip((tmp_path / FOLDER).iterdir(), ages, strict=True):
        os.utime(dead, (time.time() - age, time.time() - age))
    if said is None:
        assert loads(tmp_path, startup_timeout=300)
    else:
        with pytest.raises(EndedWhileLoadingError, match=said):
            loads(tmp_path, startup_timeout=300)


def test_one_that_loads_beside_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crash(tmp_path, MOST)
    beside = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (tmp_path / FOLDER / f"{os.getppid()}-{beside.pid}.loading").touch()
    try:
        with pytest.raises(EndedWhileLoadingError):
            loads(tmp_path)  # a number that is another's child now
        crash(tmp_path, MOST)
        (tmp_path / FOLDER / f"{os.getppid()}-{beside.pid}.loading").touch()
        monkeypatch.setattr(attempts, "_parent", lambda pid: str(os.getppid()))
        assert loads(tmp_path)
    finally:
        beside.communicate(b"\n")


def test_loads_of_another_server_do_not_count(tmp_path: Path) -> None:
    crash(tmp_path, MOST)
    for each in (tmp_path / FOLDER).iterdir():
        each.rename(each.with_name(f"1{each.name}"))
    assert loads(tmp_path)


def test_a_folder_that_cannot_be_written_is_no_reason_not_to_load() -> None:
    assert loads(Path("/proc/gone"))
