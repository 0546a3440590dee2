"""The model card: what was fixed when the model was trained and exported, and the proof of it.

The export writes it, the handler obeys it, ``describe`` shows it. What a deployment may choose stands in
``handler/settings.py`` instead.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

FILE_NAME = "model_card.json"

SizeRule = Literal["torchvision", "detectron2", "maskrcnn_benchmark"]
ResizeFilter = Literal["bilinear", "pillow"]
PasteRule = Literal["exact", "integer"]


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the rows of a canvas that the network was trained on.

    Attributes:
        min_size: Length of the resized picture's shorter side, in pixels, where ``max_size`` allows it.
        max_size: Upper limit of the longer side, in pixels.
        size_rule: The framework whose rounding of the resized sides is followed.
        size_divisor: The canvas sides are rounded up to a multiple of this.
        resize_filter: ``bilinear`` (half-pixel centres, no antialiasing, on normalised floats) or ``pillow`` (Pillow's
            antialiased bilinear on 8-bit values).
        bgr: The network wants blue first; ``mean`` and ``std`` are in the same order.
        pixel_divisor: Divides the 8-bit values before ``mean`` is subtracted: 255 or 1.
        mean: Per channel, after the division.
        std: Per channel, after the division.
    """

    min_size: int
    max_size: int
    size_rule: SizeRule
    size_divisor: int
    resize_filter: ResizeFilter
    bgr: bool
    pixel_divisor: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not 0 < self.min_size <= self.max_size:
            raise ValueError(f"sizes must be 0 < min_size <= max_size, got {self.min_size} and {self.max_size}")
        if self.size_divisor < 1:
            raise ValueError(f"size_divisor must be at least 1, got {self.size_divisor}")


@dataclass(frozen=True)
class Postprocessing:
    """How detections on the canvas become boxes and masks in pixels of the picture.

    Attributes:
        score_threshold: Detections at or below it never leave the trace.
        max_detections: Most detections per picture.
        clip_boxes: Clip boxes to the picture after scaling them back (Detectron2).
        paste_rule: See ``ops.paste_masks``.
        paste_inclusive: A pixel at the mask threshold belongs to the instance.
        mask_threshold: Probability that makes a pixel part of an instance.
        masks: The model finds masks; a Faster R-CNN finds boxes only.
    """

    score_threshold: float
    max_detections: int
    clip_boxes: bool
    paste_rule: PasteRule
    paste_inclusive: bool
    mask_threshold: float = 0.5
    masks: bool = True


@dataclass(frozen=True)
class Compiled:
    """What a compiled model (``model.pt2``) is tied to; a trace is not.

    Attributes:
        torch: The version of PyTorch that compiled it; only that minor version runs it.
        device: ``cpu`` or ``cuda``.
        dtype: What it computes in.
        machine: Kind of processor, as ``platform.machine`` names it.
        instructions: What its code takes for granted of the processor, as Linux names it; on any other the worker would
            die of an illegal instruction.
        gpu: Of ``cuda``, the compute capability, such as ``9.0``; else empty.
    """

    torch: str
    device: Literal["cpu", "cuda"]
    dtype: Literal["float32", "float16", "bfloat16"]
    machine: str
    instructions: tuple[str, ...]
    gpu: str = ""


@dataclass(frozen=True)
class ModelCard:
    """Everything that the handler must know of one exported model.

    Attributes:
        class_names: Name of each label; the position is the label that the trace returns.
        preprocessing: Picture to canvas.
        postprocessing: Canvas to picture.
        source: File name, sha256 and format of the checkpoint.
        architecture: What was read off the checkpoint's shapes.
        conventions: What the preset and the flags decided, as given to the ops.
        versions: Versions of the packages that exported the model.
        proof: Tolerances and the largest differences found between the trace and the eager model.
        compiled: What a compiled model is tied to; None: the model is a trace.
    """

    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    postprocessing: Postprocessing
    source: dict[str, Any] = field(default_factory=dict)
    architecture: dict[str, Any] = field(default_factory=dict)
    conventions: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    proof: dict[str, Any] = field(default_factory=dict)
    compiled: Compiled | None = None

    def to_json(self) -> str:
        """The card as the text of ``model_card.json``."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def load(cls, path: Path) -> "ModelCard":
        """Read a card.

        Args:
            path: The ``model_card.json`` of an archive.

        Raises:
            ValueError: The file is not a card of this version of the project.
        """
        try:
            fields = json.loads(path.read_text())
            preprocessing = fields["preprocessing"] | {
                name: tuple(fields["preprocessing"][name]) for name in ("mean", "std")
            }
            return cls(
                **fields
                | {
                    "class_names": tuple(fields["class_names"]),
                    "preprocessing": Preprocessing(**preprocessing),
                    "postprocessing": Postprocessing(**fields["postprocessing"]),
                    "compiled": _compiled(fields.get("compiled")),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is not a model card of this version ({error!r}); export the .mar again"
            ) from error


def _compiled(fields: dict[str, Any] | None) -> Compiled | None:
    return None if fields is None else Compiled(**fields | {"instructions": tuple(fields["instructions"])})
