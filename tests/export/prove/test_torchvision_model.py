"""The proof against torchvision itself, where it is importable."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from export.conventions import TORCHVISION_PREPROCESSING
from export.errors import ExportError
from export.prove import Tolerance, prove, source_framework
from tests.export.frameworks import TORCHVISION
from tests.export.prove.exported import Exported, exported

pytest.importorskip("torchvision")

# Its made-up weights multiply rounding: torchvision's own scores move by as much when its pixels move by 1e-6.
TOLERANCE = {"mobilenet_v3_large": Tolerance(scores=1e-2)}


def photographs(given: Exported) -> dict[str, Tensor]:
    """The pictures that the network was made for, as files would hold them."""
    mean, std = (torch.tensor(values) for values in (TORCHVISION_PREPROCESSING.mean, TORCHVISION_PREPROCESSING.std))
    pictures = zip(given.given.images, given.given.sizes.tolist(), strict=True)
    return {
        f"{height}x{width}": ((image[:, :height, :width].permute(1, 2, 0) * std + mean) * 255).clamp(0, 255).byte()
        for image, (height, width) in pictures
    }


@pytest.mark.parametrize("variant", TORCHVISION)
def test_answers_are_torchvisions(variant: str, tmp_path: Path) -> None:
    made = exported("torchvision", variant, tmp_path, min_size=96, max_size=128)
    proof = prove(source_framework(made.source), made.folder, photographs(made), TOLERANCE.get(variant))
    assert proof.detections >= 2
    assert proof.apart == proof.moved_masks == proof.at_threshold == 0


@pytest.mark.parametrize("field", ["norm_eps", "size", "anchors"])
def test_fails_where_the_export_has_another_convention(field: str, tmp_path: Path) -> None:
    made = exported("torchvision", "v1", tmp_path, min_size=96, max_size=128)
    rules = made.source.decision.conventions
    sizes = tuple((size[0] * 1.1,) for size in rules.proposals.anchor_sizes)
    other = {
        "norm_eps": rules.with_options("body", norm_eps=1e-4),
        "size": rules.with_options("preprocessing", min_size=95),
        "anchors": rules.with_options("proposals", anchor_sizes=sizes),
    }[field]
    source = replace(made.source, decision=replace(made.source.decision, conventions=other))
    with pytest.raises(ExportError, match="does not answer like torchvision"):
        prove(source_framework(source), made.folder, photographs(made))


def test_a_network_that_its_builders_do_not_make_is_refused(tmp_path: Path) -> None:
    source = exported("torchvision", "v1", tmp_path).source
    box = replace(source.imported.architecture.box, linears=(32, 32))
    other = replace(source.imported, architecture=replace(source.imported.architecture, box=box))
    with pytest.raises(ExportError, match="torchvision's builders do not make this network.*fc6.weight"):
        source_framework(replace(source, imported=other))
