"""The compiled ops of Mask R-CNN inference: namespace ``maskrcnn``, stable ABI of PyTorch, CPU.

Importing this package loads the library and registers what ``torch.export`` needs to know of each op.
"""

from ops.library import LIBRARY, load_library
from ops.nms import nms
from ops.propose import propose
from ops.select_detections import select_detections

__all__ = ["LIBRARY", "load_library", "nms", "propose", "select_detections"]
