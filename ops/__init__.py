"""The compiled ops of Mask R-CNN inference: namespace ``maskrcnn``, stable ABI of PyTorch, CPU.

Importing this package loads the library and registers what ``torch.export`` needs to know of each op.
"""

from ops.library import LIBRARY, load_library

# The modules below describe what the library above registers.
# isort: split
from ops.encode_rle import encode_rle
from ops.nms import nms
from ops.paste_masks import paste_masks
from ops.propose import propose
from ops.pyramid_roi_align import pyramid_roi_align
from ops.resize_normalize import resize_normalize
from ops.roi_align import roi_align
from ops.select_detections import select_detections

__all__ = [
    "LIBRARY",
    "encode_rle",
    "load_library",
    "nms",
    "paste_masks",
    "propose",
    "pyramid_roi_align",
    "resize_normalize",
    "roi_align",
    "select_detections",
]
