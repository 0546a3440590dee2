"""What is refused before the minutes of a compilation, and what a package is tied to."""

import os
import platform
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from export import command_line
from export import compile as compiling
from export.command_line import main, parser
from export.compile import Target, check_target, tied_to
from export.errors import ExportError
from export.model import MaskRCNN
from tests.export import tiny
from tests.export.test_trace import tiny_model

X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="names of x86")
LEVEL_3 = "abm avx avx2 bmi1 bmi2 f16c fma movbe"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.pth"
    torch.save(tiny.state_dict(), path)
    return path


def processor(folder: Path, flags: str) -> Path:
    (folder / "cpuinfo").write_text(f"flags\t\t: fpu {flags}\n")
    return folder / "cpuinfo"


@X86
def test_a_processor_of_the_level_may_compile(tmp_path: Path) -> None:
    check_target("cpu", processor(tmp_path, LEVEL_3))
    with pytest.raises(ExportError, match="this processor lacks avx2, fma; export on one of level x86-64-v3"):
        check_target("cpu", processor(tmp_path, "abm avx bmi1 bmi2 f16c movbe"))


def test_without_a_compiler_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ExportError, match=r"needs a C\+\+ compiler, and there is no no-such-compiler: install it"):
        check_target("cpu")


def test_an_older_pytorch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.12.1+cpu")
    with pytest.raises(ExportError, match=r"needs PyTorch 2\.13 or later, got 2\.12\.1"):
        check_target("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_package_for_gpus_needs_a_gpu() -> None:
    with pytest.raises(ExportError, match="compiled on a machine with one"):
        check_target("cuda")


@X86
def test_a_package_is_tied_to_what_its_code_takes_for_granted(tmp_path: Path) -> None:
    avx512 = "avx512bw avx512dq avx512f avx512vl"
    full = processor(tmp_path, f"{LEVEL_3} {avx512} constant_tsc")
    assert " ".join(tied_to(Target("float32", "cpu", 32), full).instructions) == LEVEL_3
    half = tied_to(Target("bfloat16", "cpu", 32), full)
    assert set(half.instructions) == {*LEVEL_3.split(), "avx512bw", "avx512dq", "avx512vl"}
    assert (half.torch, half.machine, half.device, half.gpu) == (torch.__version__, "x86_64", "cpu", "")
    # Without them PyTorch does not call oneDNN in bfloat16, and nothing of it is in the package.
    assert " ".join(tied_to(Target("bfloat16", "cpu", 32), processor(tmp_path, LEVEL_3)).instructions) == LEVEL_3


def test_on_other_processors_it_is_tied_to_all_they_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    (tmp_path / "cpuinfo").write_text("Features\t: fp asimd bf16\n")
    assert tied_to(Target("float32", "cpu", 32), tmp_path / "cpuinfo").instructions == ("asimd", "bf16", "fp")


def test_what_pytorch_cannot_compile_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise AssertionError("a guard failed\nand here are fifty lines of it")

    monkeypatch.setattr(compiling, "_programs", fails)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "elsewhere")
    with pytest.raises(ExportError) as refused:
        compiling.compile_model(torch.nn.Linear(1, 1), Target("float32", "cpu", 32), tmp_path / "model.pt2")  # type: ignore[arg-type]
    said = str(refused.value)
    assert said.endswith("cannot compile this network: a guard failed; export it without --runtime aoti")
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "elsewhere"
    assert list(tmp_path.iterdir()) == []


class Exported(NamedTuple):
    """What was handed to the compiler, and the model it came from."""

    model: MaskRCNN
    programs: list[torch.export.ExportedProgram]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """In bfloat16 under somebody else's autocast, which ``torch.export`` would take into the program."""
    model, programs = tiny_model(), []
    with pytest.MonkeyPatch.context() as patched, torch.autocast("cpu", dtype=torch.float16):
        patched.setattr(compiling, "_compiled", programs.append)
        patched.setattr("torch._inductor.package.package.package_aoti", lambda *_: None)
        path = tmp_path_factory.mktemp("package") / "model.pt2"
        compiling.compile_model(model, Target("bfloat16", "cpu", 32), path)
    return Exported(model, programs)


def test_the_model_is_left_as_it_is(exported: Exported) -> None:
    assert {parameter.dtype for parameter in exported.model.parameters()} == {torch.float32}
    explain, segment = exported.programs
    for program in (explain, segment):
        assert {value.dtype for value in program.state_dict.values() if value.is_floating_point()} == {torch.bfloat16}


def test_an_autocast_around_it_changes_nothing(exported: Exported) -> None:
    for program in exported.programs:
        values = [node.meta.get("val") for node in program.graph.nodes]
        dtypes = {value.dtype for value in values if isinstance(value, torch.Tensor)}
        assert torch.bfloat16 in dtypes
        assert torch.float16 not in dtypes


def test_batch_height_width_and_rows_stay_open(exported: Exported) -> None:
    explain, segment = exported.programs
    assert [len(program.range_constraints) >= 3 for program in (explain, segment)] == [True, True]
    inputs = [node.meta["val"] for node in segment.graph.nodes if node.op == "placeholder"][-7:]  # after the weights
    assert [isinstance(size, torch.SymInt) for size in inputs[0].shape] == [True, False]
    for level in inputs[3:]:
        assert [isinstance(size, torch.SymInt) for size in level.shape] == [True, False, True, True]
    images = [node.meta["val"] for node in explain.graph.nodes if node.op == "placeholder"][-2]
    assert [isinstance(size, torch.SymInt) for size in images.shape] == [True, False, True, True]


# Options beside --runtime aoti, and what is said of them.
CONTRADICTIONS = {
    "prove_in_half": (["--dtype", "bfloat16", "--prove"], "--prove compares on the CPU in float32"),
    "half_on_the_cpu": (["--dtype", "float16"], "float16 is for GPUs"),
}


@pytest.mark.parametrize(("options", "message"), CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_contradictions_are_told_at_once(
    options: list[str],
    message: str,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([str(checkpoint), "--runtime", "aoti", "--out", str(tmp_path / "store"), *options]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [checkpoint]


def test_a_package_is_served_where_it_was_compiled_for(checkpoint: Path) -> None:
    """A trace is served on a GPU where there is one; TorchServe would assign it to a package of the CPU, too."""
    for runtime, device in (("trace", "auto"), ("aoti", "cpu")):
        asked = command_line.export_of(parser().parse_args([str(checkpoint), "--runtime", runtime]))
        assert (asked.runtime, asked.serving.device) == (runtime, device)
