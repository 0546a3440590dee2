"""Convolutions of a frozen trace joined with what follows them, as cuDNN can compute them.

cuDNN can add the bias and a second map and apply the ReLU as it writes a convolution's result; as kernels of their own
they read and write each map again.
"""

import logging
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F

from handler.convolutions import Convolution, constants, is_plain_sum, replace
from handler.failures import first_line

logger = logging.getLogger(__name__)

Works = Callable[[Convolution, bool], bool]
"""Whether a convolution, with or without a second map that is added, can be computed joined."""


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
        values = constants(conv)
        if values is None or not works(values, added is not None):
            continue
        inputs = list(conv.inputs())
        if added is None:
            fused, operands = "aten::cudnn_convolution_relu", inputs
        else:
            with graph.insert_point_guard(relu):
                one = graph.insertConstant(1.0)  # type: ignore[attr-defined]
            fused, operands = "aten::cudnn_convolution_add_relu", [inputs[0], inputs[1], added, one, *inputs[2:]]
        replace(graph, relu, fused, operands)
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
    elif is_plain_sum(before):
        terms = [before.inputsAt(0), before.inputsAt(1)]
        for term, other in (terms, terms[::-1]):
            if term.node().kind() == "aten::conv2d" and len(term.uses()) == 1:
                yield term.node(), other


def works_joined(conv: Convolution, adds: bool) -> bool:
    """Try a joined convolution on a small map: not every cuDNN has it for every GPU, dtype and number of channels.

    float32 stays apart, because it promises the numbers of the plain layers. So does the CPU.
    """
    weight, bias, places = conv.weight, conv.bias, (conv.stride, conv.padding, conv.dilation, conv.groups)
    if weight.device.type != "cuda" or weight.dtype not in (torch.float16, torch.bfloat16):
        return False
    images = conv.small_inputs(32)
    plain = F.conv2d(images, weight, bias, *places)
    try:
        if adds:
            joined = torch.cudnn_convolution_add_relu(images, weight, plain, 1.0, bias, *places)
        else:
            joined = torch.cudnn_convolution_relu(images, weight, bias, *places)
    except RuntimeError as error:
        logger.info("a convolution %s stays apart: %s", tuple(weight.shape), first_line(error))
        return False
    expected = F.relu(plain + plain) if adds else F.relu(plain)
    return torch.allclose(joined, expected, rtol=2e-2, atol=2e-2 * float(expected.abs().max()))
