"""What a checkpoint can be: whose format its names follow, and which kind of network they describe."""

from typing import Literal

# fpn: a pyramid of features. c4: one map of the third stage, the fourth is the head. dc5: one map of a dilated fourth.
Kind = Literal["fpn", "c4", "dc5"]
Format = Literal["torchvision", "maskrcnn-benchmark", "caffe2", "detectron2"]
