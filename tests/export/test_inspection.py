"""What ``inspect`` says of every kind of checkpoint, and that what it tells the user to type is right."""

import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from export import limits
from export.choices import Choices, decide
from export.command_line import main, parser
from export.inspection import fitting_presets, likely_presets, of_the_preset
from export.network.weights import Imported, import_weights
from export.presets import claims
from tests.export.frameworks import NETWORKS, trained
from tests.export.network.named_networks import NAMED
from tests.export.network.test_bad_checkpoints import tensors_of
from tests.export.network.test_named_networks import imported

# What the network is called, where it is not a plain Mask R-CNN with an FPN.
PLAIN = "Mask R-CNN, ResNet-17 FPN, 5 classes"
CALLED = {
    "c4": "Mask R-CNN, ResNet-23 C4, 5 classes",
    "gn": "Mask R-CNN, Wide ResNet-17-2 FPN, 5 classes",
    "gn_4conv1fc": "Mask R-CNN, Wide ResNet-17-2 FPN, 5 classes",
    "faster_c4": "Faster R-CNN, ResNet-23 C4, 5 classes",
    "dc5": "Mask R-CNN, ResNet-17 DC5, 5 classes",
    "faster": "Faster R-CNN, ResNet-17 FPN, 5 classes",
    "resnext": "Mask R-CNN, ResNeXt-17-4x4d FPN, 5 classes",
    "cascade": "Cascade Mask R-CNN, ResNet-17 FPN, 5 classes",
    "x152": "Cascade Mask R-CNN, ResNeXt-17-4x4d FPN, 5 classes",
    "mobilenet_v3_large": "Mask R-CNN, MobileNetV3-Large FPN, 5 classes",
    "mobilenet_v3_large_batch_norm": "Mask R-CNN, MobileNetV3-Large FPN, 5 classes",
}
# What is read off the shapes of some, beside that.
READ = {
    (
        "maskrcnn-benchmark",
        "gn_4conv1fc",
    ): "box head       4 convolutions with group norms, 1 fully connected, of regions of 7x7",
    ("maskrcnn-benchmark", "dcn_v1"): "deformable (version 1) in res3, res4, res5",
    ("maskrcnn-benchmark", "dcn_v2"): "deformable (version 2) in res3, res4, res5",
    ("maskrcnn-benchmark", "class_agnostic"): "boxes the same for all classes",
    ("maskrcnn-benchmark", "faster"): "none: this is a Faster R-CNN, its answers have boxes only",
    ("caffe2", "c4"): "box head       on the body's last stage, which runs on regions",
    ("detectron2", "gn"): "mask head      8 convolutions with group norms, a mask per class",
    ("detectron2", "class_agnostic"): "mask head      4 convolutions, one mask for all classes",
    ("detectron2", "lsj"): "proposals      2 convolutions, 3 anchors per cell",
    ("detectron2", "cascade"): "boxes the same for all classes, 3 heads in a row",
    ("torchvision", "v2"): "FPN            32 channels at 1/4, 1/8, 1/16, 1/32, 1/64 with batch norms",
    ("torchvision", "mobilenet_v3_large"): "proposals      1 convolution, 15 anchors per cell",
}
# The defaults of a framework are of other networks than these.
NEED = {
    **dict.fromkeys(("resnext", "x152"), "groups 1 (the checkpoint: 4)"),
    **dict.fromkeys(("gn", "gn_4conv1fc"), "body norm batch (the checkpoint: group)"),
    **dict.fromkeys(("dcn_v1", "dcn_v2", "deform_v1", "deform_v2"), "deformable stages no-no-no-no (the"),
    **dict.fromkeys(("syncbn", "lsj"), "pyramid norm none (the checkpoint: batch)"),
    "4conv1fc": "box convs 0 (the checkpoint: 4)",
    "cascade": "the checkpoint has 3 box heads in a row",
}


def blocks(text: str) -> dict[str, str]:
    """Title of each block -> its rows."""
    return {block.partition(":\n")[0]: block.partition(":\n")[2] for block in text.split("\n\n")}


def said(text: str) -> str:
    """A text without its line breaks."""
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize(("framework", "variant"), NETWORKS)
def test_says_what_it_is(framework: str, variant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = trained(framework, variant).save(tmp_path)
    assert main(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= max(120, len(str(path)) + 60)
    found = blocks(shown)
    plain = "Mask R-CNN, ResNet-" if framework == "torchvision" or variant == "basic_blocks" else PLAIN
    assert f"network        {CALLED.get(variant, plain)}" in found["what it is"]
    assert re.search(rf"format         {framework}, \d+ keys", found["what it is"])
    assert READ.get((framework, variant), "5 and the background") in found["read off the shapes"]
    if framework != "torchvision" and variant in NEED:
        assert NEED[variant] in said(found["must be given"])
        assert "--config YAML" in found["must be given"]
    elif framework == "maskrcnn-benchmark":  # it saves its anchors, which are smaller than the default's here
        assert re.search(r"it seems: --anchor-sizes 16[,/]32[,/]64[,/]96[,/]128\)", said(found["must be given"]))
    else:
        assert any(title.startswith(f"from preset {default_of(framework, variant)}, by default") for title in found)
        assert "not known, so labels are called" in found["may be given"]


def default_of(framework: str, variant: str) -> str:
    if variant.startswith("mobilenet"):
        return "torchvision-mobilenet-v3-large"
    return "maskrcnn-benchmark" if framework == "caffe2" else framework


def test_says_which_option_does_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = trained("detectron2", "fpn").save(tmp_path)
    assert main(["inspect", str(path), "--preset", "detectron2", "--labels", "voc"]) == 2
    shown = capsys.readouterr()
    assert list(blocks(shown.out)) == ["what it is", "read off the shapes"]  # no preset helps, no command would work
    assert shown.err.startswith("error: the checkpoint has 6 classes with the background, but 20 class names were")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--labels", "nowhere.txt"], "class names nowhere.txt cannot be read"),
        (["--anchor-sizes", "32,64"], "the conventions give 3, 3 on 2 level(s)"),
        (["--preset", "mine"], "preset 'mine' is not known"),
        (["--preset", "COCO-InstanceSegmentation/mask_rcnn_R_50_C4_1x"], "is of another network than the checkpoint"),
    ],
)
def test_a_wrong_option_is_an_error(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trained("detectron2", "fpn").save(tmp_path)
    assert main(["inspect", str(path), *options]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert "export with" not in shown.out
    assert ("may be meant" in blocks(shown.out)) == ("--preset" in options)


def test_an_option_beside_what_must_be_given_is_not_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = trained("detectron2", "gn").save(tmp_path)
    assert main(["inspect", str(path), "--max-detections", "20"]) == 0
    needed = blocks(capsys.readouterr().out)["must be given"]
    assert "--max-detections 20 --config YAML" in needed


def test_an_impossible_count_of_a_preset_or_config_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = trained("detectron2", "fpn").save(tmp_path)
    monkeypatch.setitem(limits._LARGEST["detections"], "max_detections", 99)
    for arguments in (["inspect", str(path)], [str(path), "--out", str(tmp_path)]):
        assert main([*arguments, "--preset", "detectron2"]) == 2
        assert "max_detections must be from 1 to 99, got 100 (from preset detectron2, or" in capsys.readouterr().err


def test_shows_what_was_asked_and_what_the_checkpoint_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = tensors_of("detectron2", "fpn") | {"pixel_mean": torch.tensor([1.0, 2.0, 3.5])}
    torch.save(tensors, tmp_path / "mine.pth")
    names = tmp_path / "my names.txt"
    names.write_text("cat\ndog\ncow\npig\nhen\n")
    arguments = [str(tmp_path / "mine.pth"), "--preset", "detectron2", "--max-detections", "20", "--labels", str(names)]
    assert main(["inspect", *arguments]) == 0
    found = blocks(capsys.readouterr().out)
    assert "mean (1, 2, 3.5)" in said(found["from preset detectron2"])
    assert "note mean = (1.0, 2.0, 3.5), as the checkpoint says" in said(found["from preset detectron2"])
    assert "note max_detections = 20, as asked" in said(found["from preset detectron2"])
    assert "class names known (cat, dog, cow, pig, ...)" in said(found["may be given"])
    assert shlex.split(found["may be given"].rpartition("export with")[2])[3:] == arguments


def with_real_body(imported: Imported) -> Imported:
    """The same with a body of 50 layers, as far as the shapes say."""
    body = replace(imported.architecture.body, depths=(3, 4, 6, 3), inner_channels=(64, 128, 256, 512))
    return replace(imported, architecture=replace(imported.architecture, body=body), trained={})


def test_shows_the_notes_of_a_preset() -> None:
    imported = with_real_body(import_weights(tensors_of("maskrcnn-benchmark", "fpn")))
    name = "test_time_aug/e2e_mask_rcnn_R_50_FPN_1x"
    (note,) = claims(name).notes
    decision = decide(Choices(preset=name), imported)
    assert note in decision.notes
    assert f"note {note}" in said(of_the_preset(decision))


def test_lists_the_presets_of_such_shapes() -> None:
    imported = with_real_body(import_weights(tensors_of("detectron2", "fpn")))
    fitting = fitting_presets(imported)
    assert "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x" in fitting
    assert "LVISv1-InstanceSegmentation/mask_rcnn_R_50_FPN_1x" in fitting
    assert not [name for name in fitting if re.search("R_101|C4|DC5|cascade|faster|gn|dconv|cls_agnostic|LSJ", name)]
    of_coco = replace(imported, architecture=replace(imported.architecture, classes=81))
    assert "LVISv1-InstanceSegmentation/mask_rcnn_R_50_FPN_1x" not in fitting_presets(of_coco)


def test_what_it_says_to_type_is_understood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    path = trained("caffe2", "fpn").save(folder)
    assert main(["inspect", str(path), "--format", "caffe2", "--nms-threshold", "0.4"]) == 0
    command = blocks(capsys.readouterr().out)["may be given"].rpartition("export with")[2]
    words = shlex.split(command)
    assert words[1:3] == ["-m", "export"]
    assert Path.cwd() / words[0] == Path(sys.executable)
    options = parser().parse_args(words[3:])
    assert (options.checkpoint, options.format, options.nms_threshold) == (str(path), "caffe2", 0.4)


def test_names_its_own_python_as_it_is_typed_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trained("caffe2", "fpn").save(tmp_path)
    monkeypatch.chdir(tmp_path)
    for running, typed in (
        (tmp_path / ".venv/bin/python", ".venv/bin/python"),
        ("/opt/a b/python", "'/opt/a b/python'"),
    ):
        monkeypatch.setattr(sys, "executable", str(running))
        assert main(["inspect", str(path), "--nms-threshold", "0.4"]) == 0
        assert f"export with    {typed} -m export" in capsys.readouterr().out


def test_what_cannot_be_read_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.pth").write_bytes(b"PK\x03\x04")
    assert main(["inspect", str(tmp_path / "broken.pth")]) == 2
    assert capsys.readouterr().err.startswith("error: checkpoint ")


def test_torchvisions_norms_without_eps_are_not_seen_in_a_file() -> None:
    assert likely_presets(imported(NAMED["torchvision-coco-v1"])).startswith("torchvision-coco-v1 where training began")
    assert not likely_presets(imported(NAMED["torchvision-coco-v2"]))
