"""All that a checkpoint's shapes cannot say and that must be as it was in training."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from export.errors import ExportError
from handler.model_card import Postprocessing, Preprocessing

BoxWeights = tuple[float, float, float, float]


@dataclass(frozen=True)
class Body:
    """How the residual blocks were built.

    Attributes:
        norm_eps: Added to the variance before its root, by batch norms (frozen, synchronised or not).
        group_norm_eps: The same, by group norms.
        norm_groups: Groups of a group norm.
        stride_in_1x1: A bottleneck strides in its first 1x1 convolution, not in the 3x3.
        last_dilation: Of the 3x3 convolutions of the fourth stage; above 1 that stage does not stride (DC5).
    """

    norm_eps: float = 1e-5
    group_norm_eps: float = 1e-5
    norm_groups: int = 32
    stride_in_1x1: bool = False
    last_dilation: int = 1


@dataclass(frozen=True)
class Boxes:
    """Conventions of every box in the network.

    Attributes:
        legacy: A box holds its last pixel: widths, areas and decoded corners are one pixel off from today's.
        inclusive_nms: Suppress at an IoU equal to the threshold too.
    """

    legacy: bool = False
    inclusive_nms: bool = False


@dataclass(frozen=True)
class Proposals:
    """The region proposal network.

    Attributes:
        anchor_sizes: Sides of the square anchors, in canvas pixels: one tuple a level, finest first.
        anchor_ratios: Height over width; the same for every size.
        anchor_order: What the anchors of a cell are sorted by first: ``ratios`` (ratio 0 in all sizes, then ratio 1;
            torchvision, maskrcnn-benchmark) or ``sizes`` (Detectron2). It matters where a level has several sizes.
        anchor_rounding: ``round`` the corners to whole pixels (torchvision), keep them ``exact`` (Detectron2), or
            enumerate rounded ``windows`` whose corners are pixels (maskrcnn-benchmark).
        strides_from_grid: Step of the anchors is canvas side // grid side (torchvision), not the nominal stride.
        pre_nms_top_n: Anchors per level that enter the NMS.
        post_nms_top_n: Proposals per picture, over all levels.
        nms_threshold: IoU above which the lesser of two anchors goes.
        min_size: Shortest side of a proposal, in canvas pixels.
        score_threshold: Least score of a proposal; None for no limit.
        sigmoid: Rank after the sigmoid; False ranks raw logits (Detectron2).
    """

    anchor_sizes: tuple[tuple[float, ...], ...] = ((32.0,), (64.0,), (128.0,), (256.0,), (512.0,))
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    anchor_order: Literal["ratios", "sizes"] = "ratios"
    anchor_rounding: Literal["round", "exact", "windows"] = "round"
    strides_from_grid: bool = True
    pre_nms_top_n: int = 1000
    post_nms_top_n: int = 1000
    nms_threshold: float = 0.7
    min_size: float = 1e-3
    score_threshold: float | None = 0.0
    sigmoid: bool = True


@dataclass(frozen=True)
class Pooling:
    """How regions are cut out of the pyramid; see ``ops.pyramid_roi_align``.

    Attributes:
        sampling_ratio: Samples per cell and axis; 0 chooses by the region's size.
        aligned: Shift by half a pixel (Detectron2).
        mask_pool: Side of the pooled grid that the mask head sees.
        canonical_level: Level of a region of the canonical size.
        canonical_size: Side of that region, in canvas pixels.
        ratio_epsilon: Added to the ratio of sizes before its logarithm.
        level_epsilon: Added to the level after it.
    """

    sampling_ratio: int = 2
    aligned: bool = False
    mask_pool: int = 14
    canonical_level: int = 4
    canonical_size: float = 224.0
    ratio_epsilon: float = 0.0
    level_epsilon: float = 1e-6


@dataclass(frozen=True)
class Detections:
    """From class scores and box deltas to detections; see ``ops.select_detections``.

    Attributes:
        box_weights: Divisors of dx, dy, dw, dh: one set for each box head, a cascade has several.
        activation: What turns logits into scores.
        background_first: Class 0 is the background, else the last one is.
        score_threshold: Scores at or below it never leave the model.
        nms_threshold: IoU above which the lesser of two boxes of a class goes.
        max_detections: Most detections per picture.
        min_size: Shortest side of a detection, in canvas pixels.
    """

    box_weights: tuple[BoxWeights, ...] = ((10.0, 10.0, 5.0, 5.0),)
    activation: Literal["softmax", "sigmoid", "none"] = "softmax"
    background_first: bool = True
    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    max_detections: int = 100
    min_size: float = 1e-2


@dataclass(frozen=True)
class Answers:
    """From detections on the canvas to the picture; see ``handler.model_card.Postprocessing``."""

    clip_boxes: bool = False
    paste_rule: Literal["exact", "integer"] = "integer"
    paste_inclusive: bool = False


TORCHVISION_PREPROCESSING = Preprocessing(
    min_size=800,
    max_size=1333,
    size_rule="torchvision",
    size_divisor=32,
    resize_filter="bilinear",
    bgr=False,
    pixel_divisor=255.0,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)


@dataclass(frozen=True)
class Conventions:
    """One training framework's choices; the defaults are torchvision's."""

    preprocessing: Preprocessing = TORCHVISION_PREPROCESSING
    body: Body = Body()
    boxes: Boxes = Boxes()
    proposals: Proposals = Proposals()
    pooling: Pooling = Pooling()
    detections: Detections = Detections()
    answers: Answers = Answers()
    class_names: tuple[str, ...] | None = None

    def with_options(self, section: str, **options: Any) -> "Conventions":
        """A copy in which the options of one section that are not None replace its fields.

        Raises:
            ExportError: A value is not possible.
        """
        given = {name: value for name, value in options.items() if value is not None}
        try:
            return replace(self, **{section: replace(getattr(self, section), **given)})
        except ValueError as error:
            raise ExportError(str(error)) from error

    def postprocessing(self) -> Postprocessing:
        """What the handler must know of the answers."""
        return Postprocessing(
            score_threshold=self.detections.score_threshold,
            max_detections=self.detections.max_detections,
            **asdict(self.answers),
        )
