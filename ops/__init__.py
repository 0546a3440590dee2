"""The compiled ops of Mask R-CNN inference: namespace ``maskrcnn``, stable ABI of PyTorch, CPU and CUDA.

Importing this package loads the libraries and registers what ``torch.export`` needs to know of each op.
"""

from ops.library import CUDA_LIBRARY, LIBRARY, load_library  # first: the modules below describe what it registers

# isort: split
from ops.deform_conv2d import deform_conv2d
from ops.encode_rle import encode_rle
from ops.nms import nms
from ops.paste_masks import paste_masks
from ops.propose import propose
from ops.pyramid_roi_align import pyramid_roi_align
from ops.resize_normalize import resize_normalize
from ops.roi_align import roi_align
from ops.select_detections import select_detections

__all__ = [
    "CUDA_LIBRARY",
    "LIBRARY",
    "deform_conv2d",
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
