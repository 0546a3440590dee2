"""Convolutions of a loaded trace: made to obey PyTorch's switches, and joined with what follows them.

A trace keeps PyTorch's switches of the machine that made it as constants of each convolution, TF32 and the search for
the fastest algorithm among them; ``conv2d`` reads them when it runs. cuDNN can add the bias and a second map and apply
the ReLU as it writes a convolution's result; as kernels of their own they read and write each map again.
"""

from collections.abc import Callable, Iterator
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


Works = Callable[[Convolution, bool], bool]
"""Whether a convolution, with or without a second map that is added, can be computed joined."""


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
        _replace(graph, node, "aten::conv2d", [*inputs[:6], inputs[8]])
        node.destroy()
    return len(traced)


def fuse(graph: torch.Graph, works: Works) -> int:
    """Join convolutions with the sum and the ReLU behind them; returns how many.

    Args:
        graph: A frozen graph after ``obey_switches``.
        works: Asked for each of them; one that does not work stays as it is.
    """
    return sum(_fuse_into(graph, relu, works) for relu in list(graph.nodes()) if relu.kind() == "aten::relu")


def _fuse_into(graph: torch.Graph, relu: torch.Node, works: Works) -> bool:
    before = relu.inputsAt(0).node()
    for conv, added in _candidates(before):
        constants = _constants(conv)
        if constants is None or not works(constants, added is not None):
            continue
        inputs = list(conv.inputs())
        if added is None:
            fused, operands = "aten::cudnn_convolution_relu", inputs
        else:
            with graph.insert_point_guard(relu):
                one = graph.insertConstant(1.0)  # type: ignore[attr-defined]
            fused, operands = "aten::cudnn_convolution_add_relu", [inputs[0], inputs[1], added, one, *inputs[2:]]
        _replace(graph, relu, fused, operands)
        for node in (relu, before) if added is None else (relu, before, conv):
            node.destroy()
        return True
    return False


def _candidates(before: torch.Node) -> Iterator[tuple[torch.Node, torch.Value | None]]:
    """Convolutions that a ReLU may join, and what is added to each; nobody else may want their bare result."""
    if len(before.output().uses()) != 1:
        return
    if before.kind() == "aten::conv2d":
        yield before, None
    elif before.kind() == "aten::add" and _is_one(before.inputsAt(2)):
        terms = [before.inputsAt(0), before.inputsAt(1)]
        for term, other in (terms, terms[::-1]):
            if term.node().kind() == "aten::conv2d" and len(term.uses()) == 1:
                yield term.node(), other


def _is_one(factor: torch.Value) -> bool:
    value: Any = factor.toIValue()
    return bool(value == 1)


def _constants(conv: torch.Node) -> Convolution | None:
    """The constants of a convolution; None if one of them is not known before it runs."""
    values: list[Any] = [value.toIValue() for value in list(conv.inputs())[1:]]
    return None if any(value is None for value in values) else Convolution(*values)


def _replace(graph: torch.Graph, node: torch.Node, kind: str, inputs: list[torch.Value]) -> None:
    made = graph.create(kind, inputs, 1)
    made.insertBefore(node)
    made.output().setType(node.output().type())
    node.output().replaceAllUsesWith(made.output())
