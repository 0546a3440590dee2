"""The table of published models: every row can be fetched as it stands, and no name means two things."""

import re
from urllib.parse import urlsplit

import pytest

from export.download import zoo
from export.download.zoo import MODELS, Checksum, Published

ENDINGS = {"download.pytorch.org": ".pth", "dl.fbaipublicfiles.com": ".pkl"}
each_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


@each_model
def test_lies_on_a_known_host_over_https(model: Published) -> None:
    address = urlsplit(model.url)
    assert address.scheme == "https"
    assert address.path.endswith(ENDINGS[address.netloc])
    assert not address.query + address.fragment


@each_model
def test_has_a_name_that_make_takes_and_a_preset(model: Published) -> None:
    assert re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*", model.name)
    # make takes what ends so for a file, and the last part of a name for NAME
    assert not model.name.endswith((".pth", ".pt", ".pkl"))
    assert model.preset == model.name or model.preset.startswith("torchvision-")


@each_model
def test_the_checksum_is_the_one_in_the_files_name(model: Published) -> None:
    said = re.search(r"[-_]([0-9a-f]{6}|[0-9a-f]{8})\.p(th|kl)$", model.url)
    if model.checksum is None:
        assert said is None
    else:
        assert said is not None
        assert model.checksum.digits.startswith(said[1])
        assert model.checksum.algorithm == ("sha256" if model.url.endswith(".pth") else "md5")


def test_no_name_file_or_place_twice() -> None:
    names = [name for model in MODELS for name in (model.name, *model.also)]
    assert len(names) == len(set(names))
    assert len({model.url for model in MODELS}) == len(MODELS)
    # A cache may lie on a disk that takes upper and lower case for the same.
    assert len({model.name.lower() for model in MODELS}) == len(MODELS)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("e2e_", 8),
        ("caffe2/", 9),
        ("COCO-Detection/faster_rcnn_", 10),
        ("COCO-InstanceSegmentation/mask_rcnn_", 10),
        ("LVISv0.5-InstanceSegmentation/", 3),
        ("Misc/", 10),
        ("new_baselines/", 6),
        ("", 66),
    ],
)
def test_each_zoo_is_whole(name: str, count: int) -> None:
    assert sum(model.name.startswith(name) for model in MODELS) == count


def test_what_is_no_faster_or_mask_rcnn_is_not_there() -> None:
    assert [m.name for m in MODELS if re.search("retinanet|keypoint|panoptic|regnet|rpn_", m.url)] == []


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("coco", "https://download.pytorch.org/models/maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth"),
        ("maskrcnn_resnet50_fpn_v2", "https://download.pytorch.org/models/maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth"),
        (
            "e2e_mask_rcnn_R_50_FPN_1x",
            "https://download.pytorch.org/models/maskrcnn/e2e_mask_rcnn_R_50_FPN_1x.pth",
        ),
        (
            "37129812",
            "https://dl.fbaipublicfiles.com/detectron/37129812/12_2017_baselines/"
            "e2e_mask_rcnn_X-152-32x8d-FPN-IN5k_1.44x.yaml.09_35_36.8pzTQKYK/output/train/"
            "coco_2014_train%3Acoco_2014_valminusminival/generalized_rcnn/model_final.pkl",
        ),
        (
            "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x",
            "https://dl.fbaipublicfiles.com/detectron2/COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x/137849600/"
            "model_final_f10217.pkl",
        ),
    ],
)
def test_addresses_are_those_that_the_publishers_write(name: str, url: str) -> None:
    found = zoo.find(name)
    assert found is not None
    assert found.url == url


def test_a_model_of_detectron_is_known_by_the_name_in_configs_too() -> None:
    found = zoo.find("Caffe2Detectron/COCO/35858933/e2e_mask_rcnn_R-50-FPN_1x")
    assert found is not None
    assert found.name == found.preset == "caffe2/e2e_mask_rcnn_R_50_FPN_1x_caffe2"


def test_unknown_names_are_not_guessed_but_near_ones_are_named() -> None:
    assert zoo.find("mask_rcnn_R_50_FPN_3x") is None
    assert zoo.near_names("mask_rcnn_R_50_FPN_3x")[0] == "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"
    assert zoo.near_names("COCOv2")[0] == "coco-v2"
    assert zoo.near_names("zzz") == []


def test_a_checksum_says_whether_it_is_whole() -> None:
    assert str(Checksum("md5", "f10217")) == "md5 beginning with f10217"
    assert str(Checksum("sha256", "0" * 64)) == "sha256 " + "0" * 64
