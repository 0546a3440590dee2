"""Inference-only modules of Mask R-CNN: tensors in, flat tuple of tensors out, safe to trace.

Every size is read by an op or stays symbolic; a Python number read off a tensor would become a constant.
"""

from export.model.detector import MaskRCNN

__all__ = ["MaskRCNN"]
