"""Checkpoints of every framework through the whole command, and their archives through the handler's detector.

Half of them; with EVERY_NETWORK=1 in the environment all.
"""

import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pycocotools.mask
import pytest
import torch
from torch import Tensor

from export.command_line import main
from handler.detections import Detections
from handler.detector import Detector
from handler.replies.detections_json import detections_as_json
from handler.replies.explanation_json import explanations_as_json
from tests.export.frameworks import Trained, trained
from tests.reference import detectron2, maskrcnn_benchmark
from tests.reply_schema import parsed

pytestmark = pytest.mark.slow
HEIGHT, WIDTH = 96, 128
NAMES = ("ant", "bee", "cat", "dog", "eel")
# Few proposals; so low a score that something is always found.
FAST = [
    *("--pre-nms-top-n", "60", "--post-nms-top-n", "40", "--max-detections", "20", "--score-threshold", "0.0001"),
    *("--min-size", str(HEIGHT), "--max-size", str(WIDTH)),
]
MRB_ANCHORS = ("--anchor-sizes", "16,32,64,96,128")
_R50 = (3, 4, 6, 3)


@dataclass(frozen=True)
class Case:
    """A checkpoint, and what its user types.

    Attributes:
        made: Gives the network.
        options: Beside the names of the classes and what makes it fast.
        config: The framework's own config file, if any.
    """

    made: Callable[[], Trained]
    options: tuple[str, ...] = ()
    config: str | None = None


def known(framework: str, variant: str, *options: str) -> Case:
    return Case(lambda: trained(framework, variant), options)


def deep_d2(variant: str, config: str, *options: str) -> Case:
    """A variant of Detectron2 with as many blocks as a ResNet-50, and the config of its training."""
    settings = replace(detectron2.VARIANTS[variant], blocks=_R50)
    base = Trained("detectron2", None, "", {}, torch.empty(0), torch.empty(0))
    return Case(lambda: replace(base, module=detectron2.synthetic(settings, seed=1)), options, config)


def deep_mrb(variant: str, config: str, *options: str) -> Case:
    settings = replace(maskrcnn_benchmark.VARIANTS[variant], depths=_R50)
    base = Trained("maskrcnn-benchmark", None, "", {}, torch.empty(0), torch.empty(0))
    return Case(lambda: replace(base, module=maskrcnn_benchmark.synthetic(settings, seed=4)), options, config)


def d2_config(base: str, **model: str) -> str:
    """A short config, as a user's training has one."""
    lines = [f"_BASE_: {base}.yaml", "VERSION: 2", "MODEL:"]
    parts = {"RESNETS": "DEPTH: 50, WIDTH_PER_GROUP: 8", "ROI_HEADS": "NUM_CLASSES: 5", "MASK_ON": "True"} | model
    return "\n".join([*lines, *(f"  {key}: {'{' + v + '}' if ':' in v else v}" for key, v in parts.items())])


MRB_CONFIG = """
MODEL:
  BACKBONE: {{CONV_BODY: R-50-{kind}}}
  RESNETS: {{NUM_GROUPS: {groups}, WIDTH_PER_GROUP: {width}, STRIDE_IN_1X1: {stride_in_1x1}{resnets}}}
  RPN: {{USE_FPN: True, ANCHOR_STRIDE: "(4, 8, 16, 32, 64)", ANCHOR_SIZES: "(16, 32, 64, 96, 128)",
        PRE_NMS_TOP_N_TEST: 1000, POST_NMS_TOP_N_TEST: 1000, FPN_POST_NMS_TOP_N_TEST: 1000}}
  ROI_HEADS: {{USE_FPN: True}}
  ROI_BOX_HEAD: {{NUM_CLASSES: 6, FEATURE_EXTRACTOR: FPN2MLPFeatureExtractor, PREDICTOR: FPNPredictor,
    POOLER_RESOLUTION: 7, POOLER_SAMPLING_RATIO: 2, POOLER_SCALES: "(0.25, 0.125, 0.0625, 0.03125)"}}
  ROI_MASK_HEAD: {{FEATURE_EXTRACTOR: MaskRCNNFPNFeatureExtractor, POOLER_SAMPLING_RATIO: 2,
    CONV_LAYERS: "(16, 16, 16, 16)", SHARE_BOX_FEATURE_EXTRACTOR: False,
    POOLER_SCALES: "(0.25, 0.125, 0.0625, 0.03125)", PREDICTOR: MaskRCNNC4Predictor}}
  MASK_ON: True
DATALOADER: {{SIZE_DIVISIBILITY: 32}}
"""
CASES: dict[str, Case] = {
    "torchvision": known("torchvision", "v1"),
    "torchvision v2": known("torchvision", "v2"),
    "torchvision MobileNet": known("torchvision", "mobilenet_v3_large"),
    "torchvision Faster": known("torchvision", "faster", "--norm-eps", "0"),
    "mrb FPN": known("maskrcnn-benchmark", "fpn", *MRB_ANCHORS),
    "mrb C4": known("maskrcnn-benchmark", "c4", "--anchor-sizes", "16/32/64/96/128"),
    "mrb Faster C4": known("maskrcnn-benchmark", "faster_c4", "--anchor-sizes", "16/32/64/96/128"),
    "mrb class-agnostic": known("maskrcnn-benchmark", "class_agnostic", *MRB_ANCHORS),
    "mrb as on a CPU": known("maskrcnn-benchmark", "cpu_nms", "--preset", "maskrcnn-benchmark-cpu", *MRB_ANCHORS),
    "mrb with a config": deep_mrb(
        "dcn_v2",
        MRB_CONFIG.format(
            kind="FPN",
            groups=1,
            width=8,
            stride_in_1x1=False,
            resnets=", STAGE_WITH_DCN: [False, True, True, True], WITH_MODULATED_DCN: True, DEFORMABLE_GROUPS: 1",
        ),
    ),
    "mrb ResNeXt with a config": deep_mrb(
        "resnext", MRB_CONFIG.format(kind="FPN", groups=4, width=4, stride_in_1x1=False, resnets="")
    ),
    "caffe2 FPN": known("caffe2", "fpn", *MRB_ANCHORS),
    "caffe2 C4": known("caffe2", "c4", "--anchor-sizes", "16/32/64/96/128"),
    "caffe2 Faster": known("caffe2", "faster", *MRB_ANCHORS),
    "d2 FPN": known("detectron2", "fpn"),
    "d2 DC5": known("detectron2", "dc5"),
    "d2 basic blocks": known("detectron2", "basic_blocks"),
    "d2 class-agnostic": known("detectron2", "class_agnostic"),
    "d2 Faster": known("detectron2", "faster"),
    "d2 FPN with a config": deep_d2("fpn", d2_config("Base-RCNN-FPN")),
    "d2 C4 with a config": deep_d2(
        "c4", d2_config("Base-RCNN-C4", RESNETS="DEPTH: 50, WIDTH_PER_GROUP: 4"), "--pre-nms-top-n", "200"
    ),
    "d2 deformable with a config": deep_d2(
        "deform_v2",
        d2_config(
            "Base-RCNN-FPN",
            RESNETS="DEPTH: 50, WIDTH_PER_GROUP: 8, STRIDE_IN_1X1: False, DEFORM_MODULATED: True, "
            "DEFORM_ON_PER_STAGE: [False, True, True, True]",
        ),
    ),
    "d2 cascade with a config": deep_d2(
        "cascade",
        d2_config(
            "Base-RCNN-FPN",
            ROI_HEADS="NAME: CascadeROIHeads, NUM_CLASSES: 5",
            ROI_BOX_HEAD="CLS_AGNOSTIC_BBOX_REG: True",
        ),
    ),
    "d2 group norms with a config": deep_d2(
        "gn",
        d2_config(
            "Base-RCNN-FPN",
            RESNETS="DEPTH: 50, WIDTH_PER_GROUP: 32, NORM: GN, STRIDE_IN_1X1: False",
            FPN="NORM: GN",
            ROI_BOX_HEAD="NAME: FastRCNNConvFCHead, NUM_CONV: 4, NUM_FC: 1, NORM: GN",
            ROI_MASK_HEAD="NUM_CONV: 8, NORM: GN",
        ),
    ),
}


def exported(case: Case, folder: Path) -> Path:
    """The folder of the unpacked archive."""
    arguments = [str(case.made().save(folder)), "--name", "made", "--out", str(folder / "store"), *FAST, *case.options]
    (folder / "names.txt").write_text("\n".join(NAMES))
    arguments += ["--labels", str(folder / "names.txt")]
    if case.config:
        (folder / "config.yaml").write_text(case.config)
        arguments += ["--config", str(folder / "config.yaml")]
    assert main(arguments) == 0
    with zipfile.ZipFile(folder / "store" / "made.mar") as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def pictures() -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    coarse = torch.randint(0, 256, (2, 3, 6, 8), generator=generator, dtype=torch.uint8)
    fine = torch.nn.functional.interpolate(coarse.float(), (HEIGHT, WIDTH)).to(torch.uint8)
    return [fine[0].permute(1, 2, 0), fine[1].permute(1, 2, 0)[:60, :90]]


def check(found: Detections, detector: Detector) -> None:
    """What holds for an answer whoever trained the network."""
    names = detector.card.class_names
    first = int(names[0] == "background")
    assert names[first:] == NAMES
    assert 0 < len(found) <= 20
    assert first <= int(found.labels.min())  # the background is never visible
    assert int(found.labels.max()) < len(names)
    assert bool((found.scores[1:] <= found.scores[:-1]).all())
    assert bool((found.boxes >= -1).all())  # legacy boxes end a pixel later
    assert bool((found.boxes <= torch.tensor([found.width, found.height] * 2) + 1).all())
    if not detector.card.postprocessing.masks:
        assert found.masks is None
        return
    for counts in found.masks or ():
        assert pycocotools.mask.decode({"size": [found.height, found.width], "counts": counts}).shape == (
            found.height,
            found.width,
        )


OFTEN = (
    "torchvision v2",
    "torchvision MobileNet",
    "torchvision Faster",
    "mrb FPN",
    "mrb C4",
    "mrb as on a CPU",
    "mrb with a config",
    "caffe2 FPN",
    "d2 DC5",
    "d2 Faster",
    "d2 FPN with a config",
    "d2 C4 with a config",
    "d2 cascade with a config",
)


@pytest.mark.parametrize("name", CASES if os.environ.get("EVERY_NETWORK") else OFTEN)
def test_an_archive_answers(name: str, tmp_path: Path) -> None:
    detector = Detector.load(exported(CASES[name], tmp_path))
    assert detector.card.postprocessing.masks == ("Faster" not in name)
    assert (detector.card.class_names[0] == "background") == (not name.startswith("d2"))
    for found in detector.detect(pictures()):
        check(found, detector)
        reply = detections_as_json(found, detector.card.class_names, "made", "1.0", 1_000_000)
        assert (b'"mask"' in reply) == ("Faster" not in name)
        assert b'"background"' not in reply
    check_explanations(detector)


def check_explanations(detector: Detector) -> None:
    """The same detections; every network has a background that competes with its classes."""
    picture = pictures()[1]
    (found,), why = detector.detect([picture]), detector.explain(picture)
    assert torch.equal(why.detections.labels, found.labels)
    torch.testing.assert_close(why.detections.boxes, found.boxes, rtol=0, atol=1e-3)
    torch.testing.assert_close(why.class_scores.sum(1), torch.ones(len(found)), rtol=0, atol=1e-4)
    assert (why.mask_probabilities is None) == (found.masks is None)
    reply = explanations_as_json(why, detector.card.class_names, "made", "1.0", 1_000_000)
    assert "explanations" in parsed(reply)
    assert b'"background"' in reply
