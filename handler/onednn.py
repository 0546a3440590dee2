"""The layers of a frozen trace joined with what follows them, as oneDNN computes them on the CPU.

As traced, a sum and a ReLU read and write each map again, and matrix products go to MKL, which took twice as long as
oneDNN on a processor that is not Intel's. oneDNN writes a layer's result once, with the bias, a second map and the
ReLU applied.

The weights stay as they are, though oneDNN lays them out anew at each call (3 % of the time): the best layout depends
on the size of the map, and one made for another size took up to seven times as long.

Source: the operators of namespace ``mkldnn`` that PyTorch's own compiler emits for the CPU.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from handler.convolutions import Convolution, constants, is_plain_sum, replace
from handler.failures import first_line

logger = logging.getLogger(__name__)

_CONVOLUTION, _PRODUCT = torch.ops.mkldnn._convolution_pointwise, torch.ops.mkldnn._linear_pointwise


def join_layers(graph: torch.Graph) -> int:
    """Replace convolutions and matrix products, where oneDNN has them for this processor; returns how many.

    Args:
        graph: The inlined graph of a frozen module, whose method was not called yet.
    """
    layers = [node for node in graph.nodes() if node.kind() in _KINDS]
    return sum(_join(graph, node) for node in layers)


@dataclass(frozen=True)
class _Joined:
    """What a layer can take in.

    Attributes:
        nodes: Those that follow it, in their order.
        added: The second map of a sum.
        activation: ``relu`` or ``none``.
    """

    nodes: tuple[torch.Node, ...] = ()
    added: torch.Value | None = None
    activation: str = "none"


def _join(graph: torch.Graph, layer: torch.Node) -> bool:
    is_conv = layer.kind() == "aten::conv2d"
    joined = _followers(layer, may_add=is_conv)
    if not (_convolves(constants(layer), joined) if is_conv else _multiplies(layer.inputsAt(1).toIValue(), joined)):
        return False
    place = joined.nodes[-1] if joined.nodes else layer
    make = _conv_inputs if is_conv else _linear_inputs
    replace(graph, place, _KINDS[layer.kind()], make(list(layer.inputs()), joined, _Operands(graph, place)))
    for node in (*joined.nodes[::-1], layer):
        node.destroy()
    return True


def _followers(layer: torch.Node, may_add: bool) -> _Joined:
    """A sum, a ReLU, or both; nobody else may want what is between them."""
    after = _only_user(layer)
    if after is None:
        return _Joined()
    if after.kind() == "aten::relu":
        return _Joined((after,), None, "relu")
    name, terms = layer.output().debugName(), list(after.inputs())[:2]
    others = [term for term in terms if term.debugName() != name and term.node().kind() != "prim::Constant"]
    if not (may_add and is_plain_sum(after) and len(others) == 1):
        return _Joined()
    then = _only_user(after)
    if then is not None and then.kind() == "aten::relu":
        return _Joined((after, then), others[0], "relu")
    return _Joined((after,), others[0])


def _only_user(node: torch.Node) -> torch.Node | None:
    uses = node.output().uses()
    return uses[0].user if len(uses) == 1 else None


class _Operands:
    """Makes the operands of one new node."""

    def __init__(self, graph: torch.Graph, place: torch.Node) -> None:
        self._graph, self._place = graph, place

    def constant(self, value: object) -> torch.Value:
        """A number, a text or None."""
        with self._graph.insert_point_guard(self._place):
            made: torch.Value = self._graph.insertConstant(value)  # type: ignore[attr-defined]
            return made

    def no_numbers(self) -> torch.Value:
        """An empty ``Scalar?[]``."""
        node = self._graph.create("prim::ListConstruct", [], 1)
        node.insertBefore(self._place)
        node.output().setType(torch._C.ListType(torch._C.OptionalType(torch._C.NumberType.get())))
        return node.output()


def _conv_inputs(inputs: list[torch.Value], joined: _Joined, operands: _Operands) -> list[torch.Value]:
    images, weight, bias, stride, padding, dilation, groups = inputs
    places = [weight, bias, padding, stride, dilation, groups]
    if joined.added is None:
        return [images, *places, *_activation(joined, operands)]
    how = [operands.constant("add"), operands.constant(1.0), operands.constant(_unary(joined))]
    return [images, joined.added, *places, *how, operands.no_numbers(), operands.constant(None)]


def _unary(joined: _Joined) -> str | None:
    return None if joined.activation == "none" else joined.activation


def _linear_inputs(inputs: list[torch.Value], joined: _Joined, operands: _Operands) -> list[torch.Value]:
    return [*inputs, *_activation(joined, operands)]


def _activation(joined: _Joined, operands: _Operands) -> list[torch.Value]:
    return [operands.constant(joined.activation), operands.no_numbers(), operands.constant(None)]


_KINDS = {"aten::conv2d": "mkldnn::_convolution_pointwise", "aten::linear": "mkldnn::_linear_pointwise"}


def _convolves(conv: Convolution | None, joined: _Joined) -> bool:
    """Whether oneDNN computes it as it will be called: tried with something small."""
    if conv is None:
        return False
    images, places = conv.small_inputs(8), (conv.padding, conv.stride, conv.dilation, conv.groups)
    plain = F.conv2d(images, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups)
    given = (conv.weight, conv.bias, *places)
    if joined.added is None:
        return _computes(plain, joined, lambda: _CONVOLUTION(images, *given, joined.activation, [], None))
    how: tuple[Any, ...] = ("add", 1.0, _unary(joined), [], None)
    return _computes(plain + plain, joined, lambda: _CONVOLUTION.binary(images, plain, *given, *how))


def _multiplies(weight: Any, joined: _Joined) -> bool:
    if weight is None:
        return False
    rows = torch.linspace(-1, 1, weight.shape[1], dtype=weight.dtype)[None]
    return _computes(F.linear(rows, weight), joined, lambda: _PRODUCT(rows, weight, None, joined.activation, [], None))


def _computes(plain: Tensor, joined: _Joined, work: Callable[[], Tensor]) -> bool:
    """Whether it gives the numbers of the layers apart."""
    expected = F.relu(plain) if joined.activation == "relu" else plain
    try:
        found = work()
    except RuntimeError as error:  # no oneDNN in this build, or not in this dtype on this processor
        logger.info("a layer %s stays as it is: %s", plain.dtype, first_line(error))
        return False
    tolerance = 1e-4 if plain.dtype == torch.float32 else 2e-2
    return torch.allclose(found, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()))
