"""The compiled ops of Mask R-CNN inference: namespace ``maskrcnn``, stable ABI of PyTorch, CPU.

Importing this package loads the library and registers what ``torch.export`` needs to know of each op.
"""

from ops.library import LIBRARY, load_library  # first: the modules below describe what it registers

# isort: split
from ops.encode_rle import encode_rle
from ops.paste_masks import paste_masks

__all__ = ["LIBRARY", "encode_rle", "load_library", "paste_masks"]
