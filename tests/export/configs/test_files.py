"""A user's own YAML file, of Detectron2 or maskrcnn-benchmark, to conventions."""

from dataclasses import replace
from pathlib import Path

import pytest

from export.configs.data_sets import data_set_names
from export.conventions import Conventions
from export.errors import ExportError
from export.kinds import Format, Kind
from export.presets import config_claims, config_conventions, preset

D2_FPN = preset("detectron2", "fpn")
MRB_FPN = preset("maskrcnn-benchmark", "fpn")


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def read(folder: Path, text: str, format: Format, kind: Kind = "fpn") -> Conventions:
    return config_conventions(written(folder, text), format, kind)


def test_a_fine_tuned_detectron2(tmp_path: Path) -> None:
    made = read(
        tmp_path,
        """
_BASE_: "../Base-RCNN-FPN.yaml"
MODEL:
  MASK_ON: True
  PIXEL_STD: [57.375, 57.120, 58.395]
  RESNETS: {DEPTH: 101, STRIDE_IN_1X1: False}
  ANCHOR_GENERATOR: {SIZES: [[16], [32], [64], [128], [256]], ASPECT_RATIOS: [[0.5, 1.0]]}
  RPN: {POST_NMS_TOPK_TEST: 300, NMS_THRESH: 0.6}
  PROPOSAL_GENERATOR: {MIN_SIZE: 4}
  ROI_HEADS: {NUM_CLASSES: 3, SCORE_THRESH_TEST: 0.3, NMS_THRESH_TEST: 0.4}
  ROI_BOX_HEAD: {BBOX_REG_WEIGHTS: [1, 2, 3, 4], USE_SIGMOID_CE: True, POOLER_SAMPLING_RATIO: 2}
  ROI_MASK_HEAD: {POOLER_SAMPLING_RATIO: 2, POOLER_RESOLUTION: 7}
INPUT: {FORMAT: "RGB", MIN_SIZE_TEST: 600, MAX_SIZE_TEST: 1000}
DATASETS: {TEST: ("cells_val",)}
TEST: {DETECTIONS_PER_IMAGE: 20}
""",
        "detectron2",
    )
    expected = (
        D2_FPN.with_options("preprocessing", std=(57.375, 57.12, 58.395), bgr=False, min_size=600, max_size=1000)
        .with_options("body", stride_in_1x1=False)
        .with_options("proposals", anchor_sizes=((16.0,), (32.0,), (64.0,), (128.0,), (256.0,)))
        .with_options("proposals", anchor_ratios=(0.5, 1.0), post_nms_top_n=300, nms_threshold=0.6)
        .with_options("proposals", min_size=4.000000476837158203125)  # the next float32 above 4: 4 + 2 ** -21
        .with_options("pooling", sampling_ratio=2, mask_pool=7)
        .with_options("detections", box_weights=((1.0, 2.0, 3.0, 4.0),), activation="sigmoid", score_threshold=0.3)
        .with_options("detections", nms_threshold=0.4, max_detections=20)
    )
    assert made == expected
    claims = config_claims(tmp_path / "mine.yaml", "detectron2")
    assert (claims.kind, claims.depth, claims.classes, claims.anchors_per_cell) == ("fpn", 101, 3, 2)


def test_detectron2_without_a_base_is_a_c4(tmp_path: Path) -> None:
    assert read(tmp_path, "MODEL: {MASK_ON: True}", "detectron2", "c4") == preset("detectron2", "c4")


def test_one_row_of_sizes_stands_for_all_levels(tmp_path: Path) -> None:
    text = "_BASE_: Base-RCNN-FPN.yaml\nMODEL: {ANCHOR_GENERATOR: {SIZES: [[8, 16]]}}"
    assert read(tmp_path, text, "detectron2").proposals.anchor_sizes == ((8.0, 16.0),) * 5


@pytest.mark.parametrize(
    ("base", "kind", "name"),
    [
        ("../Base-RCNN-C4.yaml", "c4", "COCO-Detection/faster_rcnn_R_50_C4_1x"),
        ("Base-RCNN-DilatedC5.yaml", "dc5", "COCO-Detection/faster_rcnn_R_50_DC5_1x"),
        (
            "../COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x.yaml",
            "fpn",
            "COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x",
        ),
        ("mask_rcnn_R_50_FPN_3x_gn.yaml", "fpn", "Misc/mask_rcnn_R_50_FPN_3x_gn"),
        ("/opt/d2/configs/Misc/cascade_mask_rcnn_R_50_FPN_1x.yaml", "fpn", "Misc/cascade_mask_rcnn_R_50_FPN_1x"),
        ("~/d2/LVISv1-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml", "fpn",
         "LVISv1-InstanceSegmentation/mask_rcnn_R_50_FPN_1x"),
    ],
)  # fmt: skip
def test_detectron2s_own_files_are_known_as_bases(base: str, kind: Kind, name: str, tmp_path: Path) -> None:
    assert read(tmp_path, f"_BASE_: {base!r}", "detectron2", kind) == preset(name, kind)


def test_a_base_that_means_several_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="builds on 'mask_rcnn_R_50_FPN_1x.yaml', which is neither"):
        read(tmp_path, "_BASE_: mask_rcnn_R_50_FPN_1x.yaml", "detectron2")  # COCO's or LVIS's


def test_a_users_classes_have_no_names_of_coco(tmp_path: Path) -> None:
    text = "_BASE_: Base-RCNN-FPN.yaml\nMODEL: {ROI_HEADS: {NUM_CLASSES: %d}}"
    assert read(tmp_path, text % 3, "detectron2").class_names is None
    assert len(read(tmp_path, text % 80, "detectron2").class_names or ()) == 80


FPN_OF_BENCHMARK = """
MODEL:
  MASK_ON: True
  BACKBONE: {CONV_BODY: "R-50-FPN"}
  RPN:
    USE_FPN: True
    ANCHOR_STRIDE: (4, 8, 16, 32, 64)
    PRE_NMS_TOP_N_TEST: 1000
    POST_NMS_TOP_N_TEST: 1000
    FPN_POST_NMS_TOP_N_TEST: %(proposals)s
    ANCHOR_SIZES: %(sizes)s
  ROI_HEADS: {USE_FPN: True}
  ROI_BOX_HEAD:
    POOLER_RESOLUTION: 7
    POOLER_SCALES: (0.25, 0.125, 0.0625, 0.03125)
    POOLER_SAMPLING_RATIO: 2
    FEATURE_EXTRACTOR: "FPN2MLPFeatureExtractor"
    PREDICTOR: "FPNPredictor"
    NUM_CLASSES: 3
  ROI_MASK_HEAD:
    POOLER_SCALES: (0.25, 0.125, 0.0625, 0.03125)
    FEATURE_EXTRACTOR: "MaskRCNNFPNFeatureExtractor"
    PREDICTOR: "MaskRCNNC4Predictor"
    POOLER_RESOLUTION: 14
    POOLER_SAMPLING_RATIO: 2
    SHARE_BOX_FEATURE_EXTRACTOR: False
  %(more)s
INPUT: %(input)s
DATALOADER: {SIZE_DIVISIBILITY: 32}
"""
PLAIN = {"proposals": 1000, "sizes": "(32, 64, 128, 256, 512)", "more": "", "input": "{}"}


def test_maskrcnn_benchmarks_own_text(tmp_path: Path) -> None:
    assert read(tmp_path, FPN_OF_BENCHMARK % PLAIN, "maskrcnn-benchmark") == MRB_FPN
    assert read(tmp_path, FPN_OF_BENCHMARK % PLAIN, "caffe2") == MRB_FPN
    assert read(tmp_path, "MODEL: {MASK_ON: True}", "maskrcnn-benchmark", "c4") == preset("maskrcnn-benchmark", "c4")
    assert config_claims(tmp_path / "mine.yaml", "caffe2").classes == 80


def test_a_changed_maskrcnn_benchmark(tmp_path: Path) -> None:
    changes = {
        "proposals": 500,
        "sizes": "((8, 16), (16, 32), (32, 64), (64, 128), (128, 256))",
        "more": "GROUP_NORM: {EPSILON: 1e-3, NUM_GROUPS: 16}",
        "input": "{TO_BGR255: False, PIXEL_MEAN: [0.5, 0.4, 0.3], PIXEL_STD: [0.3, 0.2, 0.1], MIN_SIZE_TEST: 400}",
    }
    made = read(tmp_path, FPN_OF_BENCHMARK % changes, "maskrcnn-benchmark")
    sizes = ((8.0, 16.0), (16.0, 32.0), (32.0, 64.0), (64.0, 128.0), (128.0, 256.0))
    pixels = {"mean": (0.5, 0.4, 0.3), "std": (0.3, 0.2, 0.1), "bgr": False, "pixel_divisor": 255.0}
    assert made == (
        MRB_FPN.with_options("proposals", post_nms_top_n=500, anchor_sizes=sizes)
        .with_options("body", group_norm_eps=1e-3, norm_groups=16)
        .with_options("preprocessing", min_size=400, **pixels)
    )


def test_a_configuration_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="mine.yaml is for a network of the kind c4, but the checkpoint holds .* fpn"):
        read(tmp_path, "MODEL: {MASK_ON: True}", "maskrcnn-benchmark")


def test_torchvision_and_python_have_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="torchvision has no configuration files"):
        read(tmp_path, "MODEL: {}", "torchvision")
    with pytest.raises(ExportError, match="mine.py is Python code, which is not run"):
        config_conventions(tmp_path / "mine.py", "detectron2", "fpn")


def test_augmented_tests_are_left_to_the_evaluation(tmp_path: Path) -> None:
    text = "_BASE_: Base-RCNN-FPN.yaml\nTEST: {AUG: {ENABLED: True}}"
    assert read(tmp_path, text, "detectron2") == replace(D2_FPN, class_names=preset(
        "COCO-Detection/faster_rcnn_R_50_FPN_1x", "fpn").class_names)  # fmt: skip
    (note,) = config_claims(tmp_path / "mine.yaml", "detectron2").notes
    assert note.startswith("TEST.AUG.ENABLED")


# detectron2/layers/batch_norm.py, get_norm: in inference all batch norms are one.
@pytest.mark.parametrize(
    ("norm", "claim"),
    [("FrozenBN", "batch"), ("BN", "batch"), ("SyncBN", "batch"), ("nnSyncBN", "batch"), ("naiveSyncBN", "batch"),
     ("naiveSyncBN_N", "batch"), ("GN", "group")],
)  # fmt: skip
def test_norms_of_detectron2(norm: str, claim: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"_BASE_: Base-RCNN-FPN.yaml\nMODEL: {{RESNETS: {{NORM: {norm}}}, FPN: {{NORM: {norm}}}}}")
    claims = config_claims(path, "detectron2")
    assert (claims.body_norm, claims.pyramid_norm, claims.box_norm) == (claim, claim, "none")


# detectron2/data/datasets/builtin.py; maskrcnn-benchmark's config/paths_catalog.py
@pytest.mark.parametrize(
    ("data_sets", "classes", "first"),
    [
        (["lvis_v0.5_val_cocofied"], 80, "person"),
        (["lvis_v0.5_val_rand_100"], 1230, "acorn"),
        (["lvis_v1_test_dev"], 1203, "aerosol_can"),
        ("coco_2014_minival", 80, "person"),
        (["coco_2017_val_100", "mine"], 80, "person"),
        (["voc_2007_test_cocostyle"], 20, "aeroplane"),
        (["cityscapes_fine_instance_seg_val"], 8, "person"),
        (["cityscapes_poly_instance_minival"], 10, "person"),
        (["cityscapes_fine_instanceonly_seg_val_cocostyle"], 8, None),
        (["keypoints_coco_2017_val"], 80, None),
        (["coco_2017_val"], 79, None),
        (None, 80, None),
    ],
)
def test_names_of_data_sets(data_sets: object, classes: int, first: str | None) -> None:
    names = data_set_names(data_sets, classes)
    assert (names[0] if names else None) == first
    assert names is None or len(names) == classes
