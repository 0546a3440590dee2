"""The compiled ops of Mask R-CNN inference: namespace ``maskrcnn``, stable ABI of PyTorch, CPU.

Importing this package loads the library and registers what ``torch.export`` needs to know of each op.
"""

from ops.library import LIBRARY, load_library
from ops.resize_normalize import resize_normalize

__all__ = ["LIBRARY", "load_library", "resize_normalize"]
