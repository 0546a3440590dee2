"""Whose proof a checkpoint gets: its framework, made of its own parts around the user's weights."""

from export.errors import ExportError
from export.prove.answers import Framework
from export.prove.detectron2_model import detectron2_framework
from export.prove.source import Source
from export.prove.torchvision_model import torchvision_framework


def source_framework(source: Source) -> Framework:
    """The framework that wrote a checkpoint, with its weights.

    Raises:
        ExportError: That framework is not importable, or does not build this network.
    """
    if source.imported.format == "torchvision":
        return torchvision_framework(source)
    if source.imported.format == "detectron2":
        return detectron2_framework(source)
    raise ExportError(
        f"--prove cannot run the framework of a {source.imported.format} checkpoint: neither maskrcnn-benchmark nor "
        "Caffe2's Detectron installs beside today's PyTorch. Their recorded answers stand for them in the tests of "
        "this project; leave --prove out"
    )
