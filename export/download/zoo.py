"""The published models that a name stands for: where each lies, its checksum, the preset it was trained with.

Source:
    torchvision: ``models/detection/{mask,faster}_rcnn.py``; the digits after the last dash of a file begin its sha256.
    maskrcnn-benchmark: ``MODEL_ZOO.md`` and ``maskrcnn_benchmark/config/paths_catalog.py``; no checksums.
    Detectron2: ``detectron2/model_zoo/model_zoo.py``; the digits that end a file's name begin its md5, says
    ``MODEL_ZOO.md``.
"""

import difflib
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Checksum:
    """What a publisher says of a file.

    Attributes:
        algorithm: Of :mod:`hashlib`.
        digits: Hexadecimal; the beginning of the digest, or all of it.
    """

    algorithm: Literal["sha256", "md5"]
    digits: str

    def __str__(self) -> str:
        whole = len(self.digits) == {"sha256": 64, "md5": 32}[self.algorithm]
        return f"{self.algorithm} {self.digits}" if whole else f"{self.algorithm} beginning with {self.digits}"


@dataclass(frozen=True)
class Published:
    """One published model.

    Attributes:
        name: What the user types.
        url: Of the file.
        preset: Name of the conventions that it was trained with.
        checksum: None where the publisher gives none.
        also: What its own framework calls it, understood as well.
        megabytes: Its size where it is known, for the list only.
    """

    name: str
    url: str
    preset: str
    checksum: Checksum | None = None
    also: tuple[str, ...] = ()
    megabytes: int | None = None


_TORCHVISION = "https://download.pytorch.org/models"
_BENCHMARK = "https://download.pytorch.org/models/maskrcnn"
_DETECTRON = "https://dl.fbaipublicfiles.com/detectron"
_DETECTRON2 = "https://dl.fbaipublicfiles.com/detectron2"

# name, file, all known digits of its sha256, preset, megabytes, torchvision's name where ours is another.
_TORCHVISION_MODELS = (
    (
        "coco",
        "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
        "bf2d0c1efbc936eeee2bc95a48e80ebc86b891f61b0106485937fc29f9315fc0",
        "torchvision-coco-v1",
        178,
        "maskrcnn_resnet50_fpn",
    ),
    (
        "coco-v2",
        "maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth",
        "73cbd0190fcbe3ba339921fbce2c3a0b6bb9126c9a133c85e43a2a8e060a109e",
        "torchvision-coco-v2",
        186,
        "maskrcnn_resnet50_fpn_v2",
    ),
    (
        "fasterrcnn_resnet50_fpn",
        "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth",
        "258fb6c6",
        "torchvision-coco-v1",
        168,
        None,
    ),
    (
        "fasterrcnn_resnet50_fpn_v2",
        "fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth",
        "dd69338a",
        "torchvision-coco-v2",
        None,
        None,
    ),
    (
        "fasterrcnn_mobilenet_v3_large_fpn",
        "fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth",
        "fb6a3cc7",
        "torchvision-mobilenet-v3-large",
        None,
        None,
    ),
    (
        "fasterrcnn_mobilenet_v3_large_320_fpn",
        "fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth",
        "907ea3f9",
        "torchvision-mobilenet-v3-large-320",
        78,
        None,
    ),
)

_BENCHMARK_MODELS = tuple(
    f"e2e_{task}_rcnn_{body}_1x"
    for task in ("faster", "mask")
    for body in ("R_50_C4", "R_50_FPN", "R_101_FPN", "X_101_32x8d_FPN")
)

# maskrcnn-benchmark's config: Detectron's model id, its own config, the mark of its run.
_DETECTRON_RUN = "12_2017_baselines/{}.yaml.{}/output/train/coco_2014_train%3Acoco_2014_valminusminival"
_DETECTRON_MODELS = {
    "e2e_faster_rcnn_R_50_C4_1x": (35857197, "e2e_faster_rcnn_R-50-C4_1x", "01_33_49.iAX0mXvW"),
    "e2e_faster_rcnn_R_50_FPN_1x": (35857345, "e2e_faster_rcnn_R-50-FPN_1x", "01_36_30.cUF7QR7I"),
    "e2e_faster_rcnn_R_101_FPN_1x": (35857890, "e2e_faster_rcnn_R-101-FPN_1x", "01_38_50.sNxI7sX7"),
    "e2e_faster_rcnn_X_101_32x8d_FPN_1x": (36761737, "e2e_faster_rcnn_X-101-32x8d-FPN_1x", "06_31_39.5MIHi1fZ"),
    "e2e_mask_rcnn_R_50_C4_1x": (35858791, "e2e_mask_rcnn_R-50-C4_1x", "01_45_57.ZgkA7hPB"),
    "e2e_mask_rcnn_R_50_FPN_1x": (35858933, "e2e_mask_rcnn_R-50-FPN_1x", "01_48_14.DzEQe4wC"),
    "e2e_mask_rcnn_R_101_FPN_1x": (35861795, "e2e_mask_rcnn_R-101-FPN_1x", "02_31_37.KqyEK4tT"),
    "e2e_mask_rcnn_X_101_32x8d_FPN_1x": (36761843, "e2e_mask_rcnn_X-101-32x8d-FPN_1x", "06_35_59.RZotkLKI"),
    "e2e_mask_rcnn_X-152-32x8d-FPN-IN5k_1.44x": (
        37129812,
        "e2e_mask_rcnn_X-152-32x8d-FPN-IN5k_1.44x",
        "09_35_36.8pzTQKYK",
    ),
}

# Folder of configs, then config: training run / file without what they all share.
_DETECTRON2_MODELS = {
    "COCO-Detection": {
        "faster_rcnn_R_50_C4_1x": "137257644/model_final_721ade",
        "faster_rcnn_R_50_DC5_1x": "137847829/model_final_51d356",
        "faster_rcnn_R_50_FPN_1x": "137257794/model_final_b275ba",
        "faster_rcnn_R_50_C4_3x": "137849393/model_final_f97cb7",
        "faster_rcnn_R_50_DC5_3x": "137849425/model_final_68d202",
        "faster_rcnn_R_50_FPN_3x": "137849458/model_final_280758",
        "faster_rcnn_R_101_C4_3x": "138204752/model_final_298dad",
        "faster_rcnn_R_101_DC5_3x": "138204841/model_final_3e0943",
        "faster_rcnn_R_101_FPN_3x": "137851257/model_final_f6e8b1",
        "faster_rcnn_X_101_32x8d_FPN_3x": "139173657/model_final_68b088",
    },
    "COCO-InstanceSegmentation": {
        "mask_rcnn_R_50_C4_1x": "137259246/model_final_9243eb",
        "mask_rcnn_R_50_DC5_1x": "137260150/model_final_4f86c3",
        "mask_rcnn_R_50_FPN_1x": "137260431/model_final_a54504",
        "mask_rcnn_R_50_C4_3x": "137849525/model_final_4ce675",
        "mask_rcnn_R_50_DC5_3x": "137849551/model_final_84107b",
        "mask_rcnn_R_50_FPN_3x": "137849600/model_final_f10217",
        "mask_rcnn_R_101_C4_3x": "138363239/model_final_a2914c",
        "mask_rcnn_R_101_DC5_3x": "138363294/model_final_0464b7",
        "mask_rcnn_R_101_FPN_3x": "138205316/model_final_a3ec72",
        "mask_rcnn_X_101_32x8d_FPN_3x": "139653917/model_final_2d9806",
    },
    "new_baselines": {
        "mask_rcnn_R_50_FPN_100ep_LSJ": "42047764/model_final_bb69de",
        "mask_rcnn_R_50_FPN_200ep_LSJ": "42047638/model_final_89a8d3",
        "mask_rcnn_R_50_FPN_400ep_LSJ": "42019571/model_final_14d201",
        "mask_rcnn_R_101_FPN_100ep_LSJ": "42025812/model_final_4f7b58",
        "mask_rcnn_R_101_FPN_200ep_LSJ": "42131867/model_final_0bb7ae",
        "mask_rcnn_R_101_FPN_400ep_LSJ": "42073830/model_final_f96b26",
    },
    "LVISv0.5-InstanceSegmentation": {
        "mask_rcnn_R_50_FPN_1x": "144219072/model_final_571f7c",
        "mask_rcnn_R_101_FPN_1x": "144219035/model_final_824ab5",
        "mask_rcnn_X_101_32x8d_FPN_1x": "144219108/model_final_5e3439",
    },
    "Cityscapes": {"mask_rcnn_R_50_FPN": "142423278/model_final_af9cf5"},
    "PascalVOC-Detection": {"faster_rcnn_R_50_C4": "142202221/model_final_b1acc2"},
    "Misc": {
        "mask_rcnn_R_50_FPN_1x_dconv_c3-c5": "138602867/model_final_65c703",
        "mask_rcnn_R_50_FPN_3x_dconv_c3-c5": "144998336/model_final_821d0b",
        "cascade_mask_rcnn_R_50_FPN_1x": "138602847/model_final_e9d89b",
        "cascade_mask_rcnn_R_50_FPN_3x": "144998488/model_final_480dd8",
        "mask_rcnn_R_50_FPN_3x_syncbn": "169527823/model_final_3b3c51",
        "mask_rcnn_R_50_FPN_3x_gn": "138602888/model_final_dc5d9e",
        "scratch_mask_rcnn_R_50_FPN_3x_gn": "138602908/model_final_01ca85",
        "scratch_mask_rcnn_R_50_FPN_9x_gn": "183808979/model_final_da7b4c",
        "scratch_mask_rcnn_R_50_FPN_9x_syncbn": "184226666/model_final_5ce33e",
        "cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv": "18131413/model_0039999_e76410",
    },
    "Detectron1-Comparisons": {
        "faster_rcnn_R_50_FPN_noaug_1x": "137781054/model_final_7ab50c",
        "mask_rcnn_R_50_FPN_noaug_1x": "137781281/model_final_62ca52",
    },
}


def _torchvision(
    name: str, file: str, sha256: str, preset: str, megabytes: int | None, own_name: str | None
) -> Published:
    also = (own_name,) if own_name else ()
    return Published(name, f"{_TORCHVISION}/{file}", preset, Checksum("sha256", sha256), also, megabytes)


def _detectron(config: str, model_id: int, own_config: str, run: str) -> Published:
    name = f"caffe2/{config}_caffe2"
    url = f"{_DETECTRON}/{model_id}/{_DETECTRON_RUN.format(own_config, run)}/generalized_rcnn/model_final.pkl"
    # The longer one is what configs of maskrcnn-benchmark write after "catalog://".
    return Published(name, url, name, also=(str(model_id), f"Caffe2Detectron/COCO/{model_id}/{own_config}"))


def _detectron2(name: str, file: str) -> Published:
    return Published(name, f"{_DETECTRON2}/{name}/{file}.pkl", name, Checksum("md5", file.rpartition("_")[2]))


MODELS: tuple[Published, ...] = (
    *(_torchvision(*row) for row in _TORCHVISION_MODELS),
    *(Published(name, f"{_BENCHMARK}/{name}.pth", name) for name in _BENCHMARK_MODELS),
    *(_detectron(config, *row) for config, row in _DETECTRON_MODELS.items()),
    *(
        _detectron2(f"{folder}/{config}", file)
        for folder, files in _DETECTRON2_MODELS.items()
        for config, file in files.items()
    ),
)


def find(name: str) -> Published | None:
    """The model of that name, in our words or its framework's; None where there is none."""
    return next((model for model in MODELS if name in (model.name, *model.also)), None)


def near_names(name: str) -> list[str]:
    """Names that look like it, the likeliest first; the last part of a name counts as a name too."""
    spelled: dict[str, list[str]] = {}
    for model in MODELS:
        for spelling in (model.name, *model.also):
            for key in {spelling.lower(), spelling.lower().rpartition("/")[2]}:
                spelled.setdefault(key, []).append(spelling)
    close = difflib.get_close_matches(name.lower(), spelled, n=3)
    return list(dict.fromkeys(spelling for key in close for spelling in spelled[key]))[:4]
