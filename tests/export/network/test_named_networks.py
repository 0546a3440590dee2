"""Every preset fits the network that its framework's config builds, at its real size, and no other."""

import re
from dataclasses import replace
from functools import cache
from urllib.parse import urlsplit

import pytest
import torch
from torch import Tensor

from export.agreement import check_claims
from export.choices import Choices, decide
from export.download.zoo import MODELS, Published
from export.errors import ExportError
from export.kinds import Format
from export.model.detector import check_conventions
from export.model.layers import Layers
from export.model.proposals import ProposalNetwork
from export.network.description import summary
from export.network.weights import Imported, import_weights
from export.presets import PRESETS, claims, preset, preset_format
from tests.export.network.named_networks import FAMILIES, FASTER_TORCHVISION, NAMED, OWN_TORCHVISION, Network

USED = [
    *NAMED.items(),
    *((family, network) for family, networks in FAMILIES.items() for network in networks),
    *(("torchvision", network) for network in OWN_TORCHVISION.values()),
    *FASTER_TORCHVISION.items(),
]


@cache
def imported(network: Network) -> Imported:
    """What is read of a network; shared, since many presets have the same."""
    with pytest.MonkeyPatch.context() as patch:
        # Zeros are finite, and looking at the four billion of all networks would take most of a minute.
        patch.setattr(Tensor, "isfinite", lambda _: torch.tensor(True))
        return import_weights(network.tensors())


def test_every_preset_has_its_network_here() -> None:
    assert {*NAMED, *FAMILIES} == {*PRESETS}


@pytest.mark.parametrize(("name", "network"), USED, ids=[f"{name}: {network.summary}" for name, network in USED])
def test_a_preset_fits_its_network(name: str, network: Network) -> None:
    found = imported(network)
    assert found.format == network.format == preset_format(name)
    assert summary(found.architecture) == network.summary
    decision = decide(Choices(preset=name), found)  # claims, anchors, class names
    check_conventions(found.architecture, decision.conventions)
    ProposalNetwork(Layers(found.weights, decision.conventions.body), found.architecture, decision.conventions)
    background_last = network.format == "detectron2"
    assert len(decision.class_names) == found.architecture.classes - background_last
    # Nothing that the checkpoint carries along is another than the preset's.
    assert decision.notes == claims(name).notes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_pixels_that_the_checkpoint_says_differ_only_where_they_do(dtype: torch.dtype) -> None:
    name = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"
    found = imported(NAMED[name])
    said = {name: tensor.to(dtype) for name, tensor in found.trained.items()}
    assert not decide(Choices(preset=name), replace(found, trained=said)).notes
    said["std"] = torch.tensor([57.375, 57.125, 58.375], dtype=dtype)  # exact in float16 too
    decision = decide(Choices(preset=name), replace(found, trained=said))
    assert decision.notes == ("std = (57.375, 57.125, 58.375), as the checkpoint says",)
    assert decision.conventions.preprocessing.std == (57.375, 57.125, 58.375)
    assert decision.conventions.preprocessing.mean == (103.53, 116.28, 123.675)


# Fields of the references' settings that shapes do not say, and where the conventions have them.
UNSEEN = {
    "stride_in_1x1": lambda rules: rules.body.stride_in_1x1,
    "eps": lambda rules: rules.body.norm_eps,
    "pixel_std": lambda rules: rules.preprocessing.std,
    "rpn_score": lambda rules: rules.proposals.score_threshold,
    "aligned": lambda rules: rules.pooling.aligned,
    "sampling_ratio": lambda rules: rules.pooling.sampling_ratio,
    "box_weights": lambda rules: rules.detections.box_weights,
    "score_threshold": lambda rules: rules.detections.score_threshold,
    "detections": lambda rules: rules.detections.max_detections,
    "mask_pool": lambda rules: rules.pooling.mask_pool,
}


@pytest.mark.parametrize(("name", "network"), NAMED.items(), ids=NAMED.keys())
def test_a_preset_says_what_shapes_do_not(name: str, network: Network) -> None:
    conventions = preset(name, imported(network).architecture.kind)
    known = {field: look_up for field, look_up in UNSEEN.items() if hasattr(network.settings, field)}
    assert known
    for field, look_up in known.items():
        assert look_up(conventions) == getattr(network.settings, field), field


@pytest.mark.parametrize("format_", ["torchvision", "maskrcnn-benchmark", "caffe2", "detectron2"])
def test_a_config_refuses_every_other_network(format_: Format) -> None:
    networks = {n for n in (*NAMED.values(), *OWN_TORCHVISION.values()) if n.format == format_}
    assert len(networks) >= 5
    # All but the family of torchvision, whose builders put any head on any body under one set of rules.
    for name in (name for name in NAMED if preset_format(name) == format_ and name != "torchvision"):
        alike = {network for network in networks if shapes(network) == shapes(NAMED[name])}
        assert {network for network in networks if accepts(name, network)} == alike, name


def shapes(network: Network) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in imported(network).weights.items()}


def accepts(name: str, network: Network) -> bool:
    try:
        check_claims(claims(name), imported(network).architecture, name)
    except ExportError:
        return False
    return True


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_refuses_what_began_otherwise(family: str) -> None:
    """ResNeXts, normed heads, deformable convolutions and the new baselines stride elsewhere: they need a name."""
    began_otherwise = re.compile("X_101|X-152|X_152|gn_baselines|_gn$|dconv|syncbn|_LSJ$|^torchvision-coco-v2$")
    refused = [name for name, network in NAMED.items() if not accepts(family, network)]
    assert refused == [name for name in NAMED if began_otherwise.search(name)]


def host_format(model: Published) -> Format:
    folder = urlsplit(model.url).path.split("/")[1:3]
    by_folder: dict[str, Format] = {"detectron": "caffe2", "detectron2": "detectron2"}
    return by_folder.get(folder[0], "maskrcnn-benchmark" if folder[1] == "maskrcnn" else "torchvision")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_published_model_has_a_preset_of_its_format(model: Published) -> None:
    assert model.preset in NAMED
    assert preset_format(model.preset) == host_format(model)
