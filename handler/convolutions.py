"""The convolutions of a loaded trace: found, made to obey PyTorch's switches, replaced.

A trace keeps PyTorch's switches of the machine that made it as constants of each convolution, TF32 and the search for
the fastest algorithm among them; ``conv2d`` reads them when it runs.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Convolution:
    """The constants of one convolution of a frozen graph."""

    weight: Tensor
    bias: Tensor
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int

    def small_inputs(self, side: int) -> Tensor:
        """(1, C, side, side) in channels-last memory, of the dtype and on the device of the weight."""
        weight, channels = self.weight, self.weight.shape[1] * self.groups
        images = torch.linspace(-1, 1, side * side, dtype=weight.dtype, device=weight.device).reshape(1, 1, side, side)
        return images.repeat(1, channels, 1, 1).contiguous(memory_format=torch.channels_last)


def obey_switches(graph: torch.Graph) -> int:
    """Replace each traced convolution by ``conv2d``; returns how many there were.

    Args:
        graph: An inlined graph whose method was not called yet.
    """
    traced = [node for node in graph.nodes() if node.kind() == "aten::_convolution"]
    for node in traced:
        inputs = list(node.inputs())
        if inputs[6].toIValue():
            raise ValueError("the trace has a transposed convolution, which this version does not know")
        replace(graph, node, "aten::conv2d", [*inputs[:6], inputs[8]])
        node.destroy()
    return len(traced)


def constants(conv: torch.Node) -> Convolution | None:
    """The constants of a convolution; None if one of them is not known before it runs."""
    values: list[Any] = [value.toIValue() for value in list(conv.inputs())[1:]]
    return None if any(value is None for value in values) else Convolution(*values)


def is_plain_sum(node: torch.Node) -> bool:
    """Whether it adds two maps as they are."""
    if node.kind() != "aten::add":
        return False
    factor: Any = node.inputsAt(2).toIValue()
    return bool(factor == 1)


def replace(graph: torch.Graph, node: torch.Node, kind: str, inputs: list[torch.Value]) -> None:
    """Let a new node give what a node gave; the old one stays, for nobody."""
    made = graph.create(kind, inputs, 1)
    made.insertBefore(node)
    made.output().setType(node.output().type())
    node.output().replaceAllUsesWith(made.output())
