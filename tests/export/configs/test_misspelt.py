"""Keys that look like those that are read: refused by name; the frameworks' many others are not in the way."""

from pathlib import Path

import pytest

from export.errors import ExportError
from export.kinds import Format
from export.presets import config_claims, config_conventions

BASE = "_BASE_: Base-RCNN-FPN.yaml\n"


def read_detectron2(folder: Path, text: str) -> None:
    path = folder / "mine.yaml"
    path.write_text(BASE + text)
    config_conventions(path, "detectron2", "fpn")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("INPUT: {MIN_SIZE_TST: 600}", "INPUT.MIN_SIZE_TST is not known; did you mean INPUT.MIN_SIZE_TEST?"),
        ("INPUT: {min_size_test: 600}", "INPUT.min_size_test is not known; did you mean INPUT.MIN_SIZE_TEST?"),
        ("MODEL: {PIXEL_STDD: [1, 1, 1]}", "MODEL.PIXEL_STDD is not known; did you mean MODEL.PIXEL_STD?"),
        (
            "MODEL: {RPN: {NMS_THRESHOLD: 0.9}}",
            "MODEL.RPN.NMS_THRESHOLD is not known; did you mean MODEL.RPN.NMS_THRESH?",
        ),
        ("MODEL: {RESNET: {DEPTH: 101}}", "MODEL.RESNET is not known; did you mean MODEL.RESNETS?"),
        ("MODEL: {ROI_HEAD: {}}", "MODEL.ROI_HEAD is not known; did you mean MODEL.ROI_HEADS?"),
        ("Input: {MIN_SIZE_TEST: 600}", "Input is not known; did you mean INPUT?"),
        ("model: {}", "model is not known; did you mean MODEL?"),
        ("MODLE: {MASK_ON: True}", "MODLE is not known; did you mean MODEL?"),
        ("_BASE: x.yaml", "_BASE is not known; did you mean _BASE_?"),
        ("MODEL: 3", r"MODEL is 3; it must be a section \(a mapping"),
        ("MODEL: {RPN: [1]}", r"MODEL.RPN is \[1\]; it must be a section"),
        ("INPUT:", "INPUT is None; it must be a section"),
        ("MODEL: {RPN: }", "MODEL.RPN is None; it must be a section"),
        ("MODEL: {MASK_ON: {}}", "MODEL.MASK_ON is a section; it must be a value such as False"),
        ("MODEL: {PIXEL_STD: {R: 1}}", "MODEL.PIXEL_STD.R stands below MODEL.PIXEL_STD, which is a value"),
    ],
)
def test_a_misspelt_key_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=f"config .*mine.yaml: {message}"):
        read_detectron2(tmp_path, text)


def test_one_in_a_base_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("INPUT: {MAX_SIZE_TETS: 1000}")
    (tmp_path / "mine.yaml").write_text("_BASE_: base.yaml")
    for format in ("detectron2", "maskrcnn-benchmark"):
        with pytest.raises(ExportError, match="did you mean INPUT.MAX_SIZE_TEST?"):
            config_claims(tmp_path / "mine.yaml", format)


# Those of the frameworks' own options that resemble one that is read the most, and users' own.
NOT_READ: dict[Format, str] = {
    "detectron2": """
SOLVER: {BASE_LR: 0.02, AMP: {ENABLED: True}}
OUTPUT_DIR: ./output
SEED: -1
INPUT: {MIN_SIZE_TRAIN: [640], MAX_SIZE_TRAIN: 1333, MASK_FORMAT: polygon, CROP: {}}
MY_PROJECT: {MIN_SIZE_TST: 3, MODEL: null}
MODEL:
  WEIGHTS: model.pth
  ROI_KEYPOINT_HEAD: {NAME: KRCNNConvDeconvUpsampleHead}
  RESNETS: {RES4_DILATION: 1, STEM_OUT_CHANNELS: 64}
  RPN: {PRE_NMS_TOPK_TRAIN: 2000, POST_NMS_TOPK_TRAIN: 1000, BBOX_REG_LOSS_WEIGHT: 1.0}
  ROI_BOX_HEAD: {BBOX_REG_LOSS_WEIGHT: 1.0, CONV_DIM: 256, FC_DIM: 1024}
""",
    "maskrcnn-benchmark": """
SOLVER:
DTYPE: float32
INPUT: {MIN_SIZE_TRAIN: [640], MAX_SIZE_TRAIN: 1333}
MODEL:
  WEIGHT: catalog://R-50
  RETINANET: {NUM_CLASSES: 81}
  RPN: {PRE_NMS_TOP_N_TRAIN: 1, POST_NMS_TOP_N_TRAIN: 1, FPN_POST_NMS_TOP_N_TRAIN: 1, FPN_POST_NMS_PER_BATCH: True}
  ROI_MASK_HEAD: {RESOLUTION: 28}
""",
}


@pytest.mark.parametrize("format", NOT_READ)
def test_what_is_not_read_is_in_nobodys_way(format: Format, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(NOT_READ[format])
    made = config_conventions(path, format, "c4")
    path.write_text("MODEL: {}")
    assert made == config_conventions(path, format, "c4")


@pytest.mark.parametrize(
    ("format", "keys"),
    [
        ("detectron2", "RPN.NMS_THRESH ROI_HEADS.SCORE_THRESH_TEST ROI_HEADS.NMS_THRESH_TEST"),
        ("maskrcnn-benchmark", "RPN.NMS_THRESH ROI_HEADS.SCORE_THRESH ROI_HEADS.NMS"),
    ],
)
def test_scores_and_overlaps_are_fractions(format: Format, keys: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    for section, key in (key.split(".") for key in keys.split()):
        for value in (5, -0.1):
            path.write_text(f"MODEL: {{{section}: {{{key}: {value}}}}}")
            with pytest.raises(ExportError, match=f"MODEL.{section}.{key} is {value}; must be from 0 to 1"):
                config_conventions(path, format, "c4")
        path.write_text(f"MODEL: {{{section}: {{{key}: 1}}}}")
        assert config_conventions(path, format, "c4")
