"""The layers of MobileNetV3-Large, as data.

Source: Searching for MobileNetV3, Howard et al. 2019, table 1; channels of the squeezing layers as torchvision rounds
them.
"""

from dataclasses import dataclass

STEM_CHANNELS = 16
LAST_CHANNELS = 960
# torchvision's detectors look at the first block of the last stage and at the last layer; both have one stride.
SEEN_LAYERS = (13, 16)
SEEN_CHANNELS = (160, 960)
SEEN_STRIDES = (32, 32)


@dataclass(frozen=True)
class MobileBlock:
    """An inverted residual.

    Attributes:
        inputs: Channels that enter.
        kernel: Side of the depthwise convolution.
        expanded: Its channels.
        outputs: Channels that leave.
        squeezed: Channels between the two layers that weigh the expanded ones; 0 without them.
        hard_swish: The activation; else ReLU.
        stride: Of the depthwise convolution.
    """

    inputs: int
    kernel: int
    expanded: int
    outputs: int
    squeezed: int
    hard_swish: bool
    stride: int

    @property
    def steps(self) -> dict[str, int]:
        """Position of each step that the block has."""
        names = ["expand"] * (self.expanded != self.inputs) + ["depthwise"] + ["squeeze"] * (self.squeezed > 0)
        return {name: position for position, name in enumerate([*names, "project"])}

    @property
    def is_residual(self) -> bool:
        """Whether the input is added to the output."""
        return self.stride == 1 and self.inputs == self.outputs


BLOCKS = (
    MobileBlock(16, 3, 16, 16, 0, False, 1),
    MobileBlock(16, 3, 64, 24, 0, False, 2),
    MobileBlock(24, 3, 72, 24, 0, False, 1),
    MobileBlock(24, 5, 72, 40, 24, False, 2),
    MobileBlock(40, 5, 120, 40, 32, False, 1),
    MobileBlock(40, 5, 120, 40, 32, False, 1),
    MobileBlock(40, 3, 240, 80, 0, True, 2),
    MobileBlock(80, 3, 200, 80, 0, True, 1),
    MobileBlock(80, 3, 184, 80, 0, True, 1),
    MobileBlock(80, 3, 184, 80, 0, True, 1),
    MobileBlock(80, 3, 480, 112, 120, True, 1),
    MobileBlock(112, 3, 672, 112, 168, True, 1),
    MobileBlock(112, 5, 672, 160, 168, True, 2),
    MobileBlock(160, 5, 960, 160, 240, True, 1),
    MobileBlock(160, 5, 960, 160, 240, True, 1),
)
