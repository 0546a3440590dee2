"""Mask R-CNN as torchvision computes it, slow and on its own: what a served network is compared with.

    module, settings = made("mobilenet_v3_large")     # one of VARIANTS, with made-up weights
    module.state_dict()                               # as torchvision would save it
    images, sizes = pictures(CONTRAST)                # (2, 3, 96, 128), (2, 2)
    found = module(images, sizes)                     # list of Found: boxes, scores, labels, masks

Labels are torchvision's ids (0 is the background), boxes in pixels of the canvas, best first. Nothing here knows of the
product. Sources: Mask R-CNN (He et al. 2017) and what each module's docstring names.
"""

from functools import cache

import torch
from torch import Tensor, nn

from tests.reference.legacy_boxes import Found
from tests.reference.legacy_weights import fit, pictures
from tests.reference.torchvision_body import Backbone
from tests.reference.torchvision_heads import (
    BoxPredictor,
    MaskPredictor,
    RegionProposals,
    box_head,
    detect,
    normed_convs,
    pool,
)
from tests.reference.torchvision_settings import RESNET50_FPN, RESNET50_FPN_V2, VARIANTS, Settings

__all__ = [
    "CONTRAST",
    "RESNET50_FPN",
    "RESNET50_FPN_V2",
    "VARIANTS",
    "MaskRCNN",
    "Settings",
    "made",
    "pictures",
    "synthetic",
]

CONTRAST = 1.0  # of pictures(): 0..1, less the mean, divided by the deviation


class MaskRCNN(nn.Module):
    """One network; ``state_dict()`` has torchvision's names and shapes."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.backbone, self.rpn = Backbone(settings), RegionProposals(settings)
        self.roi_heads = nn.ModuleDict({"box_head": box_head(settings), "box_predictor": BoxPredictor(settings)})
        if settings.masks:
            self.roi_heads["mask_head"] = nn.Sequential(*normed_convs(settings))
            self.roi_heads["mask_predictor"] = MaskPredictor(settings)

    @torch.no_grad()
    def forward(self, images: Tensor, sizes: Tensor) -> list[Found]:
        """Detect.

        Args:
            images: (B, 3, H, W) float32, normalised, padded with 0 at the right and below.
            sizes: (B, 2) int64, height and width of each image on its canvas.
        """
        levels, longest = self.backbone(images), int(sizes[:, 0].max())
        proposals = self.rpn(levels, sizes, tuple(images.shape[2:]))
        found = []
        for image, (boxes, size) in enumerate(zip(proposals, sizes, strict=True)):
            mine = [level[image] for level in levels]
            vectors = self.roi_heads["box_head"](pool(mine, boxes, 7, longest))
            detected = detect(*self.roi_heads["box_predictor"](vectors), boxes, size)
            found.append(self.with_masks(mine, detected, longest))
        return found

    def with_masks(self, levels: list[Tensor], found: Found, longest: int) -> Found:
        if not self.settings.masks:
            return found
        x = self.roi_heads["mask_head"](pool(levels, found.boxes, 14, longest))
        logits = self.roi_heads["mask_predictor"](x)
        return found._replace(masks=logits.sigmoid()[torch.arange(len(logits)), found.labels])


def synthetic(settings: Settings, seed: int) -> MaskRCNN:
    """A network with made-up weights that finds something in :func:`pictures`."""
    network = MaskRCNN(settings).eval()
    fit(network, lambda: network(*pictures(CONTRAST)), seed)
    return network


@cache
def made(name: str) -> tuple[MaskRCNN, Settings]:
    """One of VARIANTS with its weights; shared by all who ask, so leave it as it is."""
    return synthetic(VARIANTS[name], VARIANTS[name].seed), VARIANTS[name]
