"""Mask R-CNN as maskrcnn-benchmark computes it, slow and on its own: what a served network is compared with.

    module, settings = made("dcn_v2")                 # one of VARIANTS, with made-up weights
    module.state_dict()                               # as maskrcnn-benchmark would save it
    images, sizes = pictures(CONTRAST)                # (2, 3, 96, 128), (2, 2)
    found = module(images, sizes)                     # list of Found: boxes, scores, labels, masks

Labels are 1..K, boxes in pixels of the canvas, both in maskrcnn-benchmark's order: by class, then by proposal. Nothing
here knows of the product. Sources: Mask R-CNN (He et al. 2017) and what each module's docstring names.
"""

from functools import cache

import torch
from torch import Tensor, nn

from tests.reference.legacy_boxes import Found
from tests.reference.legacy_weights import fit, pictures
from tests.reference.maskrcnn_benchmark_body import Backbone
from tests.reference.maskrcnn_benchmark_heads import (
    BoxFeatures,
    BoxPredictor,
    Conv5,
    MaskFeatures,
    MaskPredictor,
    detect,
)
from tests.reference.maskrcnn_benchmark_rpn import RegionProposals
from tests.reference.maskrcnn_benchmark_settings import R_50_C4, R_50_FPN, VARIANTS, Settings

__all__ = ["CONTRAST", "R_50_C4", "R_50_FPN", "VARIANTS", "MaskRCNN", "Settings", "made", "pictures", "synthetic"]

CONTRAST = 60.0  # of pictures(): 0..255 less the mean, not divided


class MaskRCNN(nn.Module):
    """One network; ``state_dict()`` has maskrcnn-benchmark's names and shapes."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        fpn = settings.kind == "fpn"
        self.backbone = Backbone(settings)
        self.rpn = RegionProposals(settings, settings.fpn if fpn else settings.out * 4)
        features = BoxFeatures(settings) if fpn else Conv5(settings)
        box = nn.ModuleDict({"feature_extractor": features, "predictor": BoxPredictor(settings)})
        self.roi_heads = nn.ModuleDict({"box": box})
        if settings.masks:
            shared = MaskFeatures(settings) if fpn else features
            mask = nn.ModuleDict({"feature_extractor": shared, "predictor": MaskPredictor(settings)})
            self.roi_heads["mask"] = mask

    @torch.no_grad()
    def forward(self, images: Tensor, sizes: Tensor) -> list[Found]:
        """Detect.

        Args:
            images: (B, 3, H, W) float32, normalised, padded with 0 at the right and below.
            sizes: (B, 2) int64, height and width of each image on its canvas.
        """
        maps = self.backbone(images)
        found = []
        for image, (boxes, _) in enumerate(self.rpn(maps, sizes)):
            mine = [level[image] for level in maps]
            found.append(self.with_masks(mine, self.boxes(mine, boxes, sizes[image])))
        return found

    def boxes(self, maps: list[Tensor], proposals: Tensor, size: Tensor) -> Found:
        box = self.roi_heads["box"]
        logits, deltas = box["predictor"](box["feature_extractor"](maps, proposals))
        return detect(logits, deltas, proposals, size, self.settings)

    def with_masks(self, maps: list[Tensor], found: Found) -> Found:
        if not self.settings.masks:
            return found
        mask = self.roi_heads["mask"]
        logits = mask["predictor"](mask["feature_extractor"](maps, found.boxes))
        return found._replace(masks=logits.sigmoid()[torch.arange(len(logits)), found.labels])


def synthetic(settings: Settings, seed: int) -> MaskRCNN:
    """A network with made-up weights that finds something in :func:`pictures`."""
    network = MaskRCNN(settings).eval()
    fit(network, lambda: network(*pictures(CONTRAST)), seed)
    if settings.still:
        for layer in (network.rpn.head.bbox_pred, network.roi_heads["box"]["predictor"].bbox_pred):
            layer.weight.data.zero_()
            layer.bias.data.zero_()
    return network


@cache
def made(name: str) -> tuple[MaskRCNN, Settings]:
    """One of VARIANTS with its weights; shared by all who ask, so leave it as it is."""
    return synthetic(VARIANTS[name], VARIANTS[name].seed), VARIANTS[name]
