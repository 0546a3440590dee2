"""The demo's network as TorchServe's eager recipe wants it: one file, one class, built without arguments.

It runs inside the stock worker, which has torchvision and nothing of this project. ``demo.train.build_model`` is the
same network.
"""

from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.resnet import Bottleneck, ResNet


class ShapesMaskRCNN(MaskRCNN):
    """The weights are loaded by the worker."""

    def __init__(self) -> None:
        stages = {f"layer{number}": str(number - 1) for number in range(1, 5)}
        body = ResNet(Bottleneck, [2, 2, 2, 2], width_per_group=16)
        super().__init__(
            BackboneWithFPN(body, stages, [256, 512, 1024, 2048], 128),
            min_size=240,
            max_size=400,
            box_head=TwoMLPHead(128 * 7**2, 256),
            box_predictor=FastRCNNPredictor(256, 5),
            mask_head=MaskRCNNHeads(128, (128,) * 4, 1),
            mask_predictor=MaskRCNNPredictor(128, 128, 5),
        )
