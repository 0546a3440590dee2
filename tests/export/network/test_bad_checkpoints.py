"""Checkpoints that do not fit together, of every framework: one message, in the words of the user's file."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from torch import Tensor

from export.agreement import check_conventions
from export.checkpoint import load_checkpoint
from export.choices import Choices, decide
from export.command_line import main
from export.errors import ExportError
from export.network.weights import import_weights
from export.presets import preset
from tests.export.frameworks import trained

TORCHVISION, MRB, CAFFE2, D2 = "torchvision", "maskrcnn-benchmark", "caffe2", "detectron2"
Change = Tensor | None | Callable[[Tensor], Tensor]


@cache
def tensors_of(framework: str, variant: str) -> dict[str, Tensor]:
    with TemporaryDirectory() as folder:
        return load_checkpoint(trained(framework, variant).save(Path(folder))).tensors


def changed(tensors: Mapping[str, Tensor], changes: Mapping[str, Change]) -> dict[str, Tensor]:
    made = dict(tensors)
    for name, change in changes.items():
        new = change(made[name]) if callable(change) else change
        made.pop(name, None)
        if new is not None:
            made[name] = new
    return made


def ones(*shape: int) -> Tensor:
    return torch.ones(shape)


def values(number: float) -> Callable[[Tensor], Tensor]:
    return lambda tensor: torch.full_like(tensor, number)


def int8(tensor: Tensor) -> Tensor:
    return tensor.to(torch.int8)


STEM = 16  # channels of every stem here
# Of each framework: a convolution of the body, a bias, the variance behind the stem.
NAMES = {
    TORCHVISION: ("backbone.body.layer2.0.conv1.weight", "rpn.head.cls_logits.bias", "backbone.body.bn1.running_var"),
    MRB: ("backbone.body.layer2.0.conv1.weight", "rpn.head.cls_logits.bias", "backbone.body.stem.bn1.running_var"),
    CAFFE2: ("res3_0_branch2a_w", "rpn_cls_logits_fpn2_b", "res_conv1_bn_riv"),
    D2: (
        "backbone.bottom_up.res3.0.conv1.weight",
        "proposal_generator.rpn_head.objectness_logits.bias",
        "backbone.bottom_up.stem.conv1.norm.running_var",
    ),
}
FPN = {TORCHVISION: "v1", MRB: "fpn", CAFFE2: "fpn", D2: "fpn"}
EVERYWHERE: dict[str, tuple[int, Change, str]] = {
    # Which of NAMES is ruined, how, and what is said of it.
    "missing": (0, None, "missing key {}: expected ("),
    "ten dimensions": (0, ones(*[1] * 10), "misshapen key {}: expected ("),
    "flat": (0, torch.Tensor.flatten, "misshapen key {}: expected ("),
    "scalar": (0, torch.tensor(1.0), "misshapen key {}: expected ("),
    "empty": (0, ones(0, 16, 1, 1), "misshapen key {}: expected ("),
    "integers": (1, int8, "key {} must hold floats, found torch.int8; is the file quantised?"),
    "NaN": (1, values(torch.nan), "key {} holds NaN or infinity: did the training diverge?"),
    "infinity": (1, values(torch.inf), "key {} holds NaN or infinity: did the training diverge?"),
    "longer": (1, ones(20), "misshapen key {}: expected ("),
    "negative variance": (2, -ones(STEM), "key {} holds a negative variance: is the file damaged?"),
}


@pytest.mark.parametrize("framework", NAMES)
@pytest.mark.parametrize(("which", "change", "message"), EVERYWHERE.values(), ids=EVERYWHERE.keys())
def test_says_what_is_wrong_with_a_key(framework: str, which: int, change: Change, message: str) -> None:
    name, tensors = NAMES[framework][which], tensors_of(framework, FPN[framework])
    with pytest.raises(ExportError, match=re.escape(message.format(name))):
        import_weights(changed(tensors, {name: change}), framework)


@pytest.mark.parametrize("framework", NAMES)
def test_an_unexpected_key_is_named(framework: str) -> None:
    name = f"{NAMES[framework][0]}_extra"
    with pytest.raises(ExportError, match=f"unexpected key {name}: it is not part of a Mask R-CNN or Faster R-CNN of"):
        import_weights(changed(tensors_of(framework, FPN[framework]), {name: ones(1)}))


_BOX = "roi_heads.box.feature_extractor"
CONTRADICTIONS: list[tuple[str, str, dict[str, Change], str]] = [
    # Two spellings of one weight.
    (
        TORCHVISION,
        "v1",
        {"rpn.head.conv.weight": ones(1)},
        "keys rpn.head.conv.0.0.weight and rpn.head.conv.weight are",
    ),
    (MRB, "gn", {f"{_BOX}.fc6.weight": ones(1)}, f"keys {_BOX}.fc6.0.weight and {_BOX}.fc6.weight are two spellings"),
    (CAFFE2, "fpn", {"rpn_cls_logits_w": ones(1)}, "keys rpn_cls_logits_fpn2_w and rpn_cls_logits_w are two spellings"),
    (
        D2,
        "fpn",
        {"backbone.res2.0.conv1.weight": ones(1)},
        "keys backbone.bottom_up.res2.0.conv1.weight and backbone.res2.0.conv1.weight are two spellings of one weight",
    ),
    # Heads of different numbers of classes.
    (
        TORCHVISION,
        "v1",
        {"roi_heads.mask_predictor.mask_fcn_logits.weight": ones(9, 16, 1, 1)},
        "misshapen key roi_heads.mask_predictor.mask_fcn_logits.weight: expected 6 outputs for 6 classes (or 5 without "
        "the background's, or 1 for all), found 9; heads replaced for another number of classes must all be replaced",
    ),
    (MRB, "fpn", {"roi_heads.box.predictor.cls_score.weight": ones(3, 64)}, "expected 12 outputs for 3 classes (or 8"),
    (
        CAFFE2,
        "fpn",
        {"bbox_pred_w": ones(28, 64)},
        "misshapen key bbox_pred_w: expected 24 outputs for 6 classes (or 20 without the background's, or 4 for all), "
        "found 28",
    ),
    (
        D2,
        "fpn",
        {"roi_heads.box_predictor.cls_score.bias": ones(5)},
        "misshapen key roi_heads.box_predictor.cls_score.bias: expected (6,), found (5,); heads replaced for another",
    ),
    (
        D2,
        "fpn",
        {"roi_heads.box_predictor.cls_score.weight": ones(1, 32)},
        "expected 2 outputs at least, one class and",
    ),
    # Head, pyramid and proposals against each other.
    (
        D2,
        "fpn",
        {"backbone.fpn_lateral3.weight": ones(16, 17, 1, 1)},
        "misshapen key backbone.fpn_lateral3.weight: expected as many inputs as a stage of the body has channels (32, "
        "64, 128, 256), found 17",
    ),
    (D2, "fpn", {"backbone.fpn_lateral2.weight": None}, "missing key backbone.fpn_lateral2.weight: expected a weight"),
    (
        D2,
        "fpn",
        {"proposal_generator.rpn_head.anchor_deltas.weight": ones(16, 16, 1, 1)},
        "misshapen key proposal_generator.rpn_head.anchor_deltas.weight: expected (12, 16, 1, 1), found (16, 16, 1, "
        "1); are weights of two networks mixed",
    ),
    (D2, "fpn", {"roi_heads.box_head.fc1.weight": ones(32, 100)}, "expected 16 inputs for each cell of a square grid"),
    (
        D2,
        "fpn",
        {"roi_heads.mask_head.deconv.weight": ones(16, 16)},
        "mask_head.deconv.weight: expected (16, 16, 2, 2)",
    ),
    (
        D2,
        "cascade",
        {"roi_heads.box_head.1.fc1.bias": ones(33)},
        "misshapen key roi_heads.box_head.1.fc1.bias: expected (32,), found (33,)",
    ),
    (
        D2,
        "cascade",
        {"roi_heads.box_predictor.2.bbox_pred.weight": ones(20, 32)},
        "misshapen key roi_heads.box_predictor.2.bbox_pred.weight: expected (4, 32), found (20, 32)",
    ),
    # Convolutions that no network has.
    (
        D2,
        "deform_v1",
        {"backbone.bottom_up.res3.0.conv2_offset.weight": ones(20, 16, 3, 3)},
        "misshapen key backbone.bottom_up.res3.0.conv2_offset.weight: expected 18 outputs for each deformable group "
        "(27 in version 2), and as many groups as divide its 16 channels, found 20",
    ),
    (
        D2,
        "resnext",
        {"backbone.bottom_up.res2.0.conv2.weight": ones(16, 5, 3, 3)},
        "misshapen key backbone.bottom_up.res2.0.conv2.weight: its 16 outputs must be a multiple of the inputs of a "
        "group (its second dimension), found 5",
    ),
    (
        D2,
        "resnext",
        {"backbone.bottom_up.res4.0.conv2.weight": ones(62, 16, 3, 3)},
        "misshapen key backbone.bottom_up.res4.0.conv2.weight: expected a multiple of the body's 4 groups as outputs",
    ),
    # Norms: of one that is damaged the part is named, in the spelling of the others.
    (
        D2,
        "fpn",
        {"backbone.bottom_up.stem.conv1.norm.running_mean": None},
        "missing key backbone.bottom_up.stem.conv1.norm.running_mean",
    ),
    (MRB, "gn", {"backbone.fpn.fpn_inner1.0.weight": None}, "missing key backbone.fpn.fpn_inner1.0.weight: expected a"),
    (MRB, "gn", {f"{_BOX}.fc6.0.weight": None}, f"missing key {_BOX}.fc6.0.weight: expected a weight"),
    (
        MRB,
        "dcn_v2",
        {"backbone.body.layer3.0.conv2.conv.weight": None},
        "missing key backbone.body.layer3.0.conv2.",
    ),
    (CAFFE2, "gn_4conv1fc", {"conv1_gn_s": None}, "missing key conv1_gn_s: expected (32,), found nothing"),
    (CAFFE2, "fpn", {"res_conv1_bn_s": None}, "missing key res_conv1_bn_s: expected (16,), found nothing"),
    # Numbers that count past the end of any network.
    (
        D2,
        "fpn",
        {"backbone.bottom_up.res2.999999999.conv1.weight": ones(1)},
        "unexpected key backbone.bottom_up.res2.999999999.conv1.weight: its number is larger than the 143 keys",
    ),
    (
        D2,
        "fpn",
        {"backbone.bottom_up.res7.0.conv1.weight": ones(1)},
        "unexpected key backbone.bottom_up.res7.0.conv1.weight: the body of an FPN network must have 1 or 2 or 3 or 4 "
        "stages before its heads, found 6",
    ),
    (
        CAFFE2,
        "fpn",
        {"res9_0_branch2a_w": ones(1)},
        "unexpected key res9_0_branch2a_w: the body of an FPN network must",
    ),
    # C4: what the heads share is saved twice.
    (
        MRB,
        "c4",
        {"roi_heads.mask.feature_extractor.head.layer4.0.conv1.weight": values(0)},
        "key roi_heads.mask.feature_extractor.head.layer4.0.conv1.weight must equal "
        "roi_heads.box.feature_extractor.head.layer4.0.conv1.weight: box and mask head share their last stage",
    ),
    (MRB, "c4", {"backbone.body.layer3.0.conv2.weight": None}, "missing key backbone.body.layer3.0.conv2.weight"),
    (D2, "c4", {"roi_heads.res5.0.conv2.weight": None}, "missing key roi_heads.res5.0.conv2.weight: expected a weight"),
    # What is no weight of the network.
    (
        D2,
        "fpn",
        {"pixel_mean": ones(1, 1, 1)},
        "key pixel_mean must hold 3 values, one a colour, found 1; only pictures",
    ),
    (D2, "fpn", {"pixel_mean": ones(4, 1, 1)}, "key pixel_mean must hold 3 values, one a colour, found 4"),
    (D2, "fpn", {"pixel_std": torch.zeros(3)}, "key pixel_std must be above 0, found (0.0, 0.0, 0.0)"),
    (D2, "fpn", {"pixel_mean": values(torch.nan)}, "key pixel_mean holds NaN or infinity"),
    (
        MRB,
        "fpn",
        {},
        "the checkpoint's anchors (rpn.anchor_generator.cell_anchors.0) are 23x11, 15x15, 11x23 pixels wide and high, "
        "but the conventions give 47x23, 31x31, 23x47; use --anchor-sizes and --anchor-ratios, or --config, as in "
        "training (it seems: --anchor-sizes 16,32,64,96,128)",
    ),
    (MRB, "fpn", {"rpn.anchor_generator.cell_anchors.0": ones(2, 4)}, "cell_anchors.0: expected (3, 4), found (2, 4)"),
    (
        MRB,
        "fpn",
        {"rpn.anchor_generator.cell_anchors.0": torch.tensor(1.0)},
        "cell_anchors.0: expected (3, 4), found ()",
    ),
]


@pytest.mark.parametrize(("framework", "variant", "changes", "message"), CONTRADICTIONS)
def test_says_what_contradicts(framework: str, variant: str, changes: dict[str, Change], message: str) -> None:
    tensors = tensors_of(framework, variant)
    if "pixel_mean" not in tensors and any(name.startswith("pixel") for name in changes):
        tensors = tensors | {"pixel_mean": ones(3, 1, 1), "pixel_std": ones(3, 1, 1)}
    with pytest.raises(ExportError, match=re.escape(message)):
        decide(Choices(), import_weights(changed(tensors, changes)))


def test_levels_of_anchors_that_the_network_has_not() -> None:
    extra = {"rpn.anchor_generator.cell_anchors.7": ones(3, 4)}
    small = {"proposals": {"anchor_sizes": ((16.0,), (32.0,), (64.0,), (96.0,), (128.0,))}}
    imported = import_weights(changed(tensors_of(MRB, "fpn"), extra))
    with pytest.raises(ExportError, match=r"unexpected key .*cell_anchors.7: the other shapes describe 5 level"):
        decide(Choices(changes=small), imported)


WRONG_CHOICES: dict[str, tuple[str, str, dict[str, str], str]] = {
    "format": (
        D2,
        "fpn",
        {"format": "maskrcnn-benchmark"},
        "unexpected key backbone.bottom_up.stem.conv1.weight: it is",
    ),
    "framework of the preset": (
        CAFFE2,
        "fpn",
        {"preset": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"},
        "is of detectron2, but the checkpoint is one of caffe2",
    ),
    "kind of the preset": (
        D2,
        "c4",
        {"preset": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"},
        "is of another network than the checkpoint: kind fpn (the checkpoint: c4); depth 50 (the checkpoint: 23)",
    ),
    "depth of the preset": (
        MRB,
        "fpn",
        {"preset": "e2e_mask_rcnn_R_101_FPN_1x"},
        "preset e2e_mask_rcnn_R_101_FPN_1x is of another network than the checkpoint: depth 101 (the checkpoint: 17)",
    ),
    "masks of the preset": (
        D2,
        "faster",
        {"preset": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"},
        "has masks yes (the checkpoint: no)",
    ),
    "config of another framework": (
        TORCHVISION,
        "v1",
        {"config": "MODEL: {}"},
        "torchvision has no configuration files",
    ),
    "config of another network": (
        D2,
        "fpn",
        {"config": "_BASE_: Base-RCNN-C4.yaml\nVERSION: 2"},
        "mine.yaml is of another network than the checkpoint: kind c4 (the checkpoint: fpn)",
    ),
    "config of other classes": (
        D2,
        "fpn",
        {"config": "_BASE_: Base-RCNN-FPN.yaml\n"},
        "classes 80 (the checkpoint: 5)",
    ),
    "config that is no yaml": (D2, "fpn", {"config": "MODEL: [\n"}, "mine.yaml cannot be read: "),
    "config that is a list": (D2, "fpn", {"config": "- 1"}, "mine.yaml must be a mapping of keys such as MODEL"),
    "config of bytes": (D2, "fpn", {"config": "\udcff"}, "mine.yaml cannot be read: "),
    "names": (
        D2,
        "fpn",
        {"labels": "a\nb\n"},
        "has 6 classes with the background, but 2 class names were given; it was",
    ),
}


@pytest.mark.parametrize(("framework", "variant", "said", "message"), WRONG_CHOICES.values(), ids=WRONG_CHOICES.keys())
def test_says_which_choice_does_not_fit(
    framework: str, variant: str, said: dict[str, str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(trained(framework, variant).save(tmp_path))]
    for option, text in said.items():
        if option in ("config", "labels"):
            path = tmp_path / {"config": "mine.yaml", "labels": "names.txt"}[option]
            path.write_text(text, errors="surrogateescape")
            text = str(path)
        arguments += [f"--{option}", text]
    assert main([*arguments, "--out", str(tmp_path / "store")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("name", "message"), [("folder.yaml", "cannot be read: "), ("mine.py", "is Python code, which")]
)
def test_configs_that_are_no_files_of_values(
    name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "mine.py").write_text("raise SystemExit(7)")
    assert main([str(trained(D2, "fpn").save(tmp_path)), "--config", str(tmp_path / name)]) == 2
    assert message in capsys.readouterr().err


def test_a_preset_of_other_classes_gives_all_but_their_names() -> None:
    small = {"proposals": {"anchor_sizes": ((32.0,),) * 5}}
    decision = decide(Choices(preset="demo", changes=small), import_weights(tensors_of(TORCHVISION, "v1")))
    assert decision.conventions.preprocessing.min_size == 240
    assert decision.class_names == ("background", "class 1", "class 2", "class 3", "class 4", "class 5")
    assert "class names: the preset has 4, the checkpoint 5" in decision.notes


@pytest.mark.parametrize("sizes", ["0", "-3", "32,nan", "32,64/inf"])
def test_anchors_have_sides(sizes: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["any.pth", "--anchor-sizes", sizes])
    assert "must be above 0" in capsys.readouterr().err


def test_levels_of_different_counts_of_anchors() -> None:
    uneven = {"proposals": {"anchor_sizes": ((32.0,), (64.0, 96.0), (96.0,), (128.0,), (256.0,))}}
    with pytest.raises(
        ExportError, match=r"conventions give 3, 6, 3, 3, 3 on 5 level\(s\) \(sizes 32,64/96,96,128,256"
    ):
        decide(Choices(changes=uneven), import_weights(tensors_of(D2, "fpn")))


def test_group_norms_that_the_groups_do_not_divide() -> None:
    architecture = import_weights(tensors_of(D2, "gn")).architecture
    conventions = preset("Misc/mask_rcnn_R_50_FPN_3x_gn", "fpn").with_options("body", norm_groups=5)
    with pytest.raises(ExportError, match=r"the checkpoint's group norm of body\.stem has 32 channels, which 5 groups"):
        check_conventions(architecture, conventions)


@pytest.mark.parametrize(
    ("framework", "variant", "stem"),
    [
        (TORCHVISION, "v1", "backbone.body.conv1.weight"),
        (TORCHVISION, "mobilenet_v3_large", "backbone.body.0.0.weight"),
        (CAFFE2, "fpn", "conv1_w"),
    ],
)
@pytest.mark.parametrize("channels", [1, 4])
def test_pictures_of_other_than_three_colours(framework: str, variant: str, stem: str, channels: int) -> None:
    tensors = changed(tensors_of(framework, variant), {stem: lambda kernel: kernel[:, :1].repeat(1, channels, 1, 1)})
    with pytest.raises(ExportError, match=rf"key {stem}: .* three colours can be served, not of {channels} channels"):
        import_weights(tensors)
