"""The user's checkpoint in torchvision's own model.

Every layer and rule is torchvision's; only what its builders take as arguments and a user may have chosen is given to
them. The weights go in as the file names them, so that our table of names is proved too.

Source: torchvision 0.28, the documented classes of ``models/detection``.
"""

from collections import OrderedDict
from functools import partial
from typing import Any

from torch import Tensor, nn

from export.errors import ExportError
from export.network.architecture import MobileNetBody, Norm, Pyramid, ResidualBody
from export.network.mobilenet import SEEN_LAYERS
from export.prove.answers import Answer, Framework
from export.prove.source import Source, framework_module

MASK_THRESHOLD = 0.5  # torchvision gives soft masks; its own visualisation and evaluation cut them here
SAMPLING_RATIO = 2  # of its models; poolers take it without a default


def torchvision_framework(source: Source) -> Framework:
    """torchvision with the weights of a checkpoint.

    Raises:
        ExportError: torchvision is not importable, or its builders do not make this network.
    """
    tv, detection = framework_module("torchvision"), framework_module("torchvision.models.detection")
    model = _Builder(tv, detection, source).model()
    try:
        model.load_state_dict(source.checkpoint.tensors, strict=True)
    except RuntimeError as error:
        first = " ".join(str(error).split("\n")[1:3]).replace("\t", "")
        raise ExportError(f"torchvision's builders do not make this network; leave --prove out: {first}") from error
    return Framework("torchvision", str(tv.__version__), partial(_find, model.eval()))


def _find(model: nn.Module, picture: Tensor) -> Answer:
    """One picture as torchvision's reference scripts give it to a model, and its soft masks thresholded."""
    (found,) = model([picture.permute(2, 0, 1).float() / 255])
    masks = found["masks"][:, 0] > MASK_THRESHOLD if "masks" in found else None
    return Answer(found["boxes"], found["scores"], found["labels"], masks)


class _Builder:
    """Makes the model, part by part."""

    def __init__(self, tv: Any, detection: Any, source: Source) -> None:
        self._tv, self._detection = tv, detection
        self._a, self._rules = source.imported.architecture, source.decision.conventions
        # A frozen norm and one that counts its steps compute the same, but round in another order.
        self._counts = any(name.endswith("num_batches_tracked") for name in source.checkpoint.tensors)
        if self._a.pyramid is None:
            raise ExportError("--prove: torchvision's models that can be exported have an FPN, this one has none")
        self._pyramid: Pyramid = self._a.pyramid

    def model(self) -> nn.Module:
        """The whole detector, its weights not yet those of the checkpoint."""
        arguments = self._of_rules() | self._of_proposals() | self._of_boxes() | self._of_masks()
        kind = self._detection.MaskRCNN if self._a.mask else self._detection.FasterRCNN
        made: nn.Module = kind(self._backbone(), **arguments)
        return made

    def _of_rules(self) -> dict[str, Any]:
        """What may differ from torchvision's defaults, as torchvision calls it."""
        pre, proposals, found = self._rules.preprocessing, self._rules.proposals, self._rules.detections
        return {
            "min_size": pre.min_size,
            "max_size": pre.max_size,
            "rpn_pre_nms_top_n_test": proposals.pre_nms_top_n,
            "rpn_post_nms_top_n_test": proposals.post_nms_top_n,
            "rpn_score_thresh": proposals.score_threshold or 0.0,
            "box_score_thresh": found.score_threshold,
            "box_nms_thresh": found.nms_threshold,
            "box_detections_per_img": found.max_detections,
        }

    def _of_proposals(self) -> dict[str, Any]:
        sizes = self._rules.proposals.anchor_sizes
        ratios, head = (self._rules.proposals.anchor_ratios,) * len(sizes), self._a.proposals
        rpn = self._detection.rpn
        return {
            "rpn_anchor_generator": self._detection.anchor_utils.AnchorGenerator(sizes, ratios),
            "rpn_head": rpn.RPNHead(self._pyramid.channels, head.anchors, conv_depth=len(head.convs)),
        }

    def _of_boxes(self) -> dict[str, Any]:
        box, faster, channels = self._a.box, self._detection.faster_rcnn, self._pyramid.channels
        if box.convs:
            size = (channels, box.side, box.side)
            norm = self._norm(box.norm)
            head = faster.FastRCNNConvFCHead(size, list(box.convs), list(box.linears), norm_layer=norm)
        else:
            head = faster.TwoMLPHead(channels * box.side**2, box.linears[0])
        return {
            "box_roi_pool": self._pool(box.side),
            "box_head": head,
            "box_predictor": faster.FastRCNNPredictor(box.linears[-1], self._a.classes),
        }

    def _of_masks(self) -> dict[str, Any]:
        mask, mask_rcnn, channels = self._a.mask, self._detection.mask_rcnn, self._pyramid.channels
        if mask is None:
            return {}
        leaving = (channels, *mask.convs)[-1]
        return {
            "mask_roi_pool": self._pool(self._rules.pooling.mask_pool),
            "mask_head": mask_rcnn.MaskRCNNHeads(channels, list(mask.convs), 1, norm_layer=self._norm(mask.norm)),
            "mask_predictor": mask_rcnn.MaskRCNNPredictor(leaving, mask.hidden, self._a.classes),
        }

    def _pool(self, side: int) -> Any:
        return self._tv.ops.MultiScaleRoIAlign(["0", "1", "2", "3"], side, SAMPLING_RATIO)

    def _norm(self, norm: Norm) -> Any:
        """What makes a norm of so many channels; None: no norm."""
        if norm == "none":
            return None
        frozen = self._tv.ops.misc.FrozenBatchNorm2d
        return partial(nn.BatchNorm2d if self._counts else frozen, eps=self._rules.body.norm_eps)

    def _backbone(self) -> nn.Module:
        stages, body = self._pyramid.stages, self._a.body
        if isinstance(body, MobileNetBody):
            made = self._tv.models.mobilenet_v3_large(weights=None, norm_layer=self._norm(body.norm)).features
            layers = [str(SEEN_LAYERS[stage]) for stage in stages]
        else:
            made = self._residual_body(body)
            layers = [f"layer{stage + 1}" for stage in stages]
        backbone: nn.Module = self._detection.backbone_utils.BackboneWithFPN(
            made,
            {layer: str(level) for level, layer in enumerate(layers)},
            [self._a.body_channels[stage] for stage in stages],
            self._pyramid.channels,
            norm_layer=self._norm(self._pyramid.norm),
        )
        return backbone

    def _residual_body(self, body: ResidualBody) -> nn.Module:
        """As torchvision's ``ResNet``, of its blocks, but of any width."""
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(3, body.stem_channels, 7, stride=2, padding=3, bias=False),
            bn1=self._norm(body.norm)(body.stem_channels),
            relu=nn.ReLU(),
            maxpool=nn.MaxPool2d(3, stride=2, padding=1),
        )
        for stage, depth in enumerate(body.depths):
            blocks = (self._block(body, stage, number) for number in range(depth))
            layers[f"layer{stage + 1}"] = nn.Sequential(*blocks)
        return nn.Sequential(layers)

    def _block(self, body: ResidualBody, stage: int, number: int) -> nn.Module:
        resnet, norm = self._tv.models.resnet, self._norm(body.norm)
        entering, leaving = body.in_channels(stage, number), body.stage_channels[stage]
        stride = 2 if stage and not number else 1
        shortcut = None
        if body.has_shortcut(stage, number):
            shortcut = nn.Sequential(nn.Conv2d(entering, leaving, 1, stride, bias=False), norm(leaving))
        made: nn.Module
        if body.block == "basic":
            made = resnet.BasicBlock(entering, leaving, stride, shortcut, norm_layer=norm)
            return made
        planes = leaving // resnet.Bottleneck.expansion
        # Channels of a group are int(planes * width / 64) there; the half keeps that from being one too few.
        width = 64 * (body.inner_channels[stage] // body.groups + 0.5) / planes
        made = resnet.Bottleneck(entering, planes, stride, shortcut, body.groups, width, norm_layer=norm)
        return made
