"""Archives that cannot be loaded, on a real TorchServe beside a model that can: everybody is told why, nobody waits.

The cases are the rows of the README's table "When a model cannot load"; two run every day, the others take longer.
"""

import json
import platform
import re
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest
import torch

from handler.model_card import Compiled
from server import __main__ as commands
from server.torchserve import ServerError, TorchServe
from tests.reply_schema import error_of
from tests.served import MODEL, PICTURES, ROOT, wait_for_metric

LIBRARY = "ops/lib/libmaskrcnn_ops.so"
CONFIG = "model-config.yaml"
PICTURE = PICTURES[2].read_bytes()
ARM = 183  # e_machine of 64-bit ARM


@dataclass(frozen=True)
class Broken:
    """How an archive differs from a good one, and what its clients must read.

    Attributes:
        changes: File to its new content, made of the old one; None: it is missing.
        message: What the message must have in it.
        hint: What the hint must have in it.
    """

    changes: dict[str, Callable[[bytes], bytes] | None]
    message: str
    hint: str = "export the .mar again"
    marks: tuple[pytest.MarkDecorator, ...] = field(default=(pytest.mark.slow,))


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def with_a_flipped_bit(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def of_another_machine(content: bytes) -> bytes:
    return content[:18] + struct.pack("<H", ARM) + content[20:]


def with_config(line: str, instead_of: str = "") -> Callable[[bytes], bytes]:
    return lambda content: f"{line}\n".encode() + content.replace(instead_of.encode() or b"\0", b"")


def compiled_for(instructions: list[str], version: str = torch.__version__) -> Callable[[bytes], bytes]:
    tied = Compiled(str(version), "cpu", "float32", platform.machine(), tuple(instructions))
    return lambda card: json.dumps(json.loads(card) | {"compiled": asdict(tied)}).encode()


def program(text: str) -> Callable[[bytes], bytes]:
    return lambda _: text.encode()


# What PyTorch says of itself, as early as anything of ours is imported.
OLD_PYTORCH = program("import torch\ntorch.__version__ = '2.9.1'\n")
KILLED = program("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
CASES = {
    "no_library": Broken({LIBRARY: None}, "libmaskrcnn_ops.so is missing", marks=()),
    "cut_library": Broken({LIBRARY: cut}, "libmaskrcnn_ops.so is cut off"),
    "no_library_at_all": Broken({LIBRARY: program("not a library" * 20)}, "invalid ELF header"),
    "other_machine": Broken({LIBRARY: of_another_machine}, "of another processor", "on a machine of this kind"),
    "compiled_elsewhere": Broken(
        {"model_card.json": compiled_for(["sse9"])},
        "for another processor: this one lacks sse9",
        "on a machine of this kind",
    ),
    "compiled_by_another": Broken(
        {"model_card.json": compiled_for([], "2.9.1")}, "needs PyTorch 2.9, with which it was compiled", "that version"
    ),
    "old_pytorch": Broken({"handler/__init__.py": OLD_PYTORCH}, "needs PyTorch 2.11 or later, got 2.9.1", "serve it"),
    "no_weights": Broken({"model.pt": None}, "No such file or directory: model.pt"),
    "cut_weights": Broken({"model.pt": cut}, "model.pt is damaged or cut off"),
    "other_weights": Broken({"model.pt": with_a_flipped_bit}, "model.pt is damaged: the checksum of", marks=()),
    "no_card": Broken({"model_card.json": None}, "No such file or directory: model_card.json"),
    "cut_card": Broken({"model_card.json": cut}, "model_card.json is not a model card"),
    "unknown_setting": Broken({CONFIG: lambda old: old + b"  max_pixel: 5\n"}, "got 'max_pixel'", "model-config.yaml"),
    "wrong_setting": Broken(
        {CONFIG: lambda old: old.replace(b"max_pixels: 50000000", b"max_pixels: many")}, "got 'many'", "that key"
    ),
    "wrong_batch_size": Broken(
        {CONFIG: lambda old: old.replace(b"batchSize: 4", b"batchSize: many")}, "batchSize must be", "that key"
    ),
    "no_module": Broken({"handler/detector.py": None}, "No module named 'handler.detector'"),
    "cut_module": Broken({"handler/images.py": program("def (:")}, "SyntaxError: invalid syntax (images.py, line 1)"),
    "no_gpu": Broken({CONFIG: with_config("deviceType: gpu", "\ndeviceType: cpu")}, "assigned no GPU", "message names"),
    "killed": Broken({"handler/images.py": KILLED}, "3 workers were killed or crashed while they loaded", "dmesg"),
    "too_slow": Broken(
        {
            "handler/images.py": program("import time\ntime.sleep(60)\n"),
            CONFIG: lambda old: old.replace(b"startupTimeout: 300", b"startupTimeout: 4"),
        },
        "not loaded after startupTimeout, 4 s",
        "raise it in model-config.yaml",
    ),
}


def make(archive: Path, name: str, broken: Broken) -> None:
    """Write the archive into the store of the good one."""
    unused = set(broken.changes)
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(archive.with_name(f"{name}.mar"), "w") as target:
        for entry in source.namelist():
            change = broken.changes.get(entry, bytes)
            unused.discard(entry)
            if change is not None:
                target.writestr(entry, change(source.read(entry)))
    assert not unused


@pytest.fixture
def registered(request: pytest.FixtureRequest, archive: Path, server: TorchServe) -> Iterator[str]:
    """The name of a broken model that the server was given."""
    name: str = request.param
    make(archive, name, CASES[name])
    query = f"url={name}.mar&model_name={name}&initial_workers=1&synchronous=false"
    status, body = server.request("management", f"/models?{query}", b"")
    try:
        assert status == 202, body
        yield name
    finally:
        server.request("management", f"/models/{name}", method="DELETE")
        archive.with_name(f"{name}.mar").unlink()


def ready(server: TorchServe, name: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(commands, "HOME", server.home)
    monkeypatch.setattr(sys, "argv", ["server", "ready", "--name", name])
    return commands.main()


@pytest.mark.parametrize(
    "registered", [pytest.param(name, marks=case.marks) for name, case in CASES.items()], indirect=True
)
def test_everybody_is_told_why(
    registered: str, server: TorchServe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = CASES[registered]
    counter = f'maskrcnn_errors_total\\{{code="model_not_loaded",ModelName="{registered}"[^}}]*\\}}'
    with pytest.raises(ServerError, match="model_not_loaded"):
        server.wait_until_ready(registered)
    status, body = server.request("inference", f"/predictions/{registered}", PICTURE, timeout=110)
    error = error_of(body)
    assert (status, error["code"]) == (503, "model_not_loaded")
    assert expected.message in error["message"]
    assert expected.hint in error["hint"]
    told = body.decode()
    assert not [each for each in ("Traceback", 'File "', "frame #", "/tmp", str(server.temporary)) if each in told]
    status, body = server.request("management", f"/models/{registered}?customized=true")
    assert json.loads(body)[0]["customizedMetadata"]["error"] == error
    assert ready(server, registered, monkeypatch) == 2
    assert error["message"] in capsys.readouterr().err.replace('\\"', '"')
    wait_for_metric(server, counter, above=0)
    assert server.predict(MODEL, PICTURE)[0] == 200


def test_the_table_of_the_readme_has_every_case() -> None:
    section = re.search(r"(?ms)^### When a model cannot load\n(.*?)^##", (ROOT / "README.md").read_text())
    assert section
    named = [name for cell in re.findall(r"(?m)\| ([a-z_, ]+) \|$", section[1]) for name in cell.split(", ")]
    assert sorted(named) == sorted(["case", *CASES, "noexec"])  # test_broken_folders.py has the last one
