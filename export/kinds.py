"""The frameworks whose checkpoints are read, and the kinds of networks that they train."""

from typing import Literal

Format = Literal["torchvision", "maskrcnn-benchmark", "caffe2", "detectron2"]
"""Who named the weights. Caffe2's are maskrcnn-benchmark's in everything but their names."""

Kind = Literal["fpn", "c4", "dc5"]
"""Where the heads look: at a feature pyramid, at the third stage (``c4``, whose fourth runs on every region), or at a
fourth stage that is dilated instead of strided (``dc5``)."""


def framework_of(format_: Format) -> Format:
    """The framework whose conventions a checkpoint follows; its name is that of a preset too."""
    return "maskrcnn-benchmark" if format_ == "caffe2" else format_
