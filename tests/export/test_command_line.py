"""The whole way, with a tiny model from a float16 checkpoint: a .mar that says what it is, the same each time."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from zipfile import ZIP_STORED, ZipFile

import pytest
import torch
import yaml

from export import command_line, pipeline, trace
from export.archive import REPOSITORY
from export.choices import Choices, Decision
from export.command_line import main
from export.network.weights import Imported
from handler.model_card import ModelCard
from tests.export import tiny
from tests.export.test_trace import tiny_model

FAST = ["--pre-nms-top-n", "60", "--post-nms-top-n", "50"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.pth"
    torch.save({"model": {name: tensor.half() for name, tensor in tiny.state_dict().items()}}, path)
    return path


@pytest.fixture(scope="module")
def store(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("model_archiver")
    folder = tmp_path_factory.mktemp("store")
    options = ["--min-size", "100", "--max-size", "200", "--score-threshold", "0.1", "--batch-size", "6", *FAST]
    labels = folder / "names.txt"
    labels.write_text("cat\ndog\ncow\n")
    arguments = [str(checkpoint), "--name", "pets", "--labels", str(labels), "--out", str(folder), *options]
    assert main(arguments) == 0
    return folder


def test_the_archive_holds_what_a_worker_needs(store: Path) -> None:
    with ZipFile(store / "pets.mar") as file:
        names = file.namelist()
        assert {info.compress_type for info in file.infolist()} == {ZIP_STORED}
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        manifest = json.loads(file.read("MAR-INF/MANIFEST.json"))
        config = yaml.safe_load(file.read("model-config.yaml"))
        for package in ("handler", "ops"):
            for source in (REPOSITORY / package).glob("*.py"):
                assert file.read(f"{package}/{source.name}") == source.read_bytes()
        assert file.read("ops/lib/libmaskrcnn_ops.so") == (REPOSITORY / "ops/lib/libmaskrcnn_ops.so").read_bytes()
    roots = {"MAR-INF", "handler", "ops", "maskrcnn_handler.py", "model-config.yaml", "model.pt", "model_card.json"}
    assert {name.split("/")[0] for name in names} == roots
    assert not [name for name in names if "csrc" in name or "__pycache__" in name]
    assert manifest["model"]["modelName"] == "pets"
    assert manifest["model"]["handler"] == "maskrcnn_handler.py"
    assert manifest["model"]["configFile"] == "model-config.yaml"
    assert (config["batchSize"], config["maxBatchDelay"], config["minWorkers"], config["maxWorkers"]) == (6, 10, 1, 1)
    assert (config["responseTimeout"], config["startupTimeout"]) == (120, 300)


def test_the_card_tells_all(store: Path, checkpoint: Path, tmp_path: Path) -> None:
    with ZipFile(store / "pets.mar") as file:
        file.extract("model_card.json", tmp_path)
    card = ModelCard.load(tmp_path / "model_card.json")
    assert card.class_names == ("background", "cat", "dog", "cow")
    assert (card.preprocessing.min_size, card.preprocessing.max_size) == (100, 200)
    assert card.postprocessing.score_threshold == 0.1
    assert card.source["file"] == "tiny.pth"
    assert len(card.source["sha256"]) == 64
    assert card.architecture["body"]["depths"] == [1, 2, 1, 1]
    assert card.conventions["proposals"]["post_nms_top_n"] == 50
    assert card.versions["torch"].split("+")[0] == torch.__version__.split("+")[0]  # some indices leave "+cu130" out
    assert card.proof["detections"] > 0
    assert card.proof["largest_differences"]["boxes"] <= card.proof["tolerance"]["boxes"]


def test_two_folders_give_the_same_bytes(checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("model_archiver")
    ignored = shutil.ignore_patterns("__pycache__", "csrc")
    for package in ("export", "handler", "ops"):
        shutil.copytree(REPOSITORY / package, tmp_path / "elsewhere" / package, ignore=ignored)
    made = []
    for number, folder in enumerate((REPOSITORY, tmp_path / "elsewhere")):
        out = tmp_path / str(number)
        command = [sys.executable, "-m", "export", str(checkpoint), "--name", "again", "--out", str(out), *FAST]
        subprocess.run(command, cwd=folder, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        assert [path.name for path in out.iterdir()] == ["again.mar"]  # and nothing else is left behind
        made.append((out / "again.mar").read_bytes())
    assert made[0] == made[1]
    assert str(REPOSITORY).encode() not in made[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.pth"], "'nowhere.pth' does not exist"),
        (["{checkpoint}", "--name", "../up"], "model name must be at most 200 letters"),
        (
            ["{checkpoint}", "--preset", "torchvision-coco-v1"],
            "preset torchvision-coco-v1 is of another network than the checkpoint: depth 50 (the checkpoint: 17)",
        ),
        (["{checkpoint}", "--preset", "mine"], "preset 'mine' is not known"),
        (["{checkpoint}", "--preset", "detectron2"], "is of detectron2, but the checkpoint is one of torchvision"),
        (["{checkpoint}", "--preset", "demo", "--config", "any.yaml"], "give --config or --preset, not both"),
        (["{checkpoint}", "--format", "caffe2"], "it is not part of a Mask R-CNN or Faster R-CNN of caffe2"),
        (["{checkpoint}", "--labels", "nowhere.txt"], "class names nowhere.txt cannot be read"),
        (["{checkpoint}", "--anchor-sizes", "32,64"], "the conventions give 3, 3 on 2 level(s)"),
        (["{checkpoint}", "--min-size", "900", "--max-size", "800"], "0 < min_size <= max_size"),
    ],
)
def test_says_what_does_not_fit(
    arguments: list[str], message: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [argument.format(checkpoint=checkpoint) for argument in arguments]
    assert main([*filled, "--out", str(tmp_path / "store")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_nothing_is_packed_that_does_not_hold(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save = trace.save

    def save_another(_: torch.jit.ScriptModule, path: Path) -> None:
        save(trace.trace(tiny_model()), path)

    monkeypatch.setattr(trace, "save", save_another)
    assert main([str(checkpoint), "--out", str(tmp_path / "store"), *FAST]) == 2
    assert "the export differs from the model in" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--score-threshold", "2", "must be from 0 to 1, got 2"),
        ("--score-threshold", "nan", "must be from 0 to 1, got nan"),
        ("--score-threshold", "much", "must be a number, got 'much'"),
        ("--norm-eps", "-1", "must be at least 0, got -1"),
        ("--anchor-sizes", "32/x,64", "must be a number, got 'x'"),
        ("--anchor-ratios", "1,0", "must be above 0, got 0"),
        ("--batch-size", "0", "must be from 1 to 1,000,000, got 0"),
        ("--min-size", "abc", "must be a whole number from 1 to 65,500, got 'abc'"),
        ("--max-size", "65501", "must be from 1 to 65,500, got 65501"),
        ("--max-detections", "1" + "0" * 21, "must be from 1 to 10,000, got 1000000000000000000000"),
        ("--pre-nms-top-n", "9223372036854775808", "must be from 1 to 1,000,000, got 9223372036854775808"),
        ("--max-pixels", "2147483648", "must be from 1 to 2,147,483,647, got 2147483648"),
    ],
)
def test_refuses_values_out_of_range(option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["any.pth", f"{option}={value}"])
    assert stopped.value.code == 2
    assert f"argument {option}: {message}\n" in capsys.readouterr().err


@pytest.mark.parametrize("store", ["/dev/null/store", "/proc/store", "{checkpoint}"])
def test_a_store_that_cannot_be_written_is_refused_before_the_work(
    store: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = store.format(checkpoint=checkpoint)
    assert main([str(checkpoint), "--out", out]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: --out {out}: the folder cannot be made or written: ")


def test_what_pytorch_refuses_is_an_error(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = pipeline.decide

    def decide_too_much(choices: Choices, imported: Imported) -> Decision:  # as a config may
        decision = decide(choices, imported)
        return replace(decision, conventions=decision.conventions.with_options("pooling", sampling_ratio=2**70))

    monkeypatch.setattr(pipeline, "decide", decide_too_much)
    assert main([str(checkpoint), "--out", str(tmp_path / "store"), *FAST]) == 2
    assert "error: tracing the model failed: " in capsys.readouterr().err


def test_a_full_temporary_folder_is_named(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def verify(*_: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")

    monkeypatch.setattr(pipeline, "verify", verify)
    assert main([str(checkpoint), "--out", str(tmp_path / "store"), *FAST]) == 2
    assert f"error: the disk of {gettempdir()} is full: " in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_sigterm_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def run(_: object) -> None:
        with TemporaryDirectory(prefix="export-"):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    (tmp_path / "any.pth").write_bytes(b"")
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(command_line, "run", run)
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "any.pth")])
    assert stopped.value.code == 143
    assert [path.name for path in tmp_path.iterdir()] == ["any.pth"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_ctrl_c_ends_without_a_traceback(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_line, "run", lambda _: signal.raise_signal(signal.SIGINT))
    assert main([str(checkpoint)]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_the_manual_names_every_preset(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    manual = capsys.readouterr().out
    assert all(word in manual for word in ("torchvision-coco-v1", "demo", "--norm-eps", "--labels", "examples:"))
