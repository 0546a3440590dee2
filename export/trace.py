"""The one place that calls ``torch.jit.trace``: TorchScript is deprecated, its successor will be a second format.

The file that comes out holds for any canvas, any batch and any device, and names no path of this machine.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor
from torch.jit._trace import TracerWarning

from export.errors import ExportError
from export.model import MaskRCNN

# Small, of two pictures, not square and not one alike: whatever the trace keeps by accident shows at another size.
EXAMPLE_CANVAS = (2, 3, 320, 256)
EXAMPLE_SIZES = ((320, 240), (200, 256))
EXAMPLE_BOXES = ((8.0, 16.0, 200.0, 180.0), (0.0, 0.0, 32.0, 64.0), (30.0, 40.0, 90.0, 70.0))

# Written by the file format itself, or the source lines of this machine.
_LEFT_OUT = (".debug_pkl", "version", ".data/serialization_id")


def trace(model: MaskRCNN) -> torch.jit.ScriptModule:
    """Trace the methods of a model into one module.

    Args:
        model: On the CPU, in float32.

    Raises:
        ExportError: A tensor or a device ended up as a constant of the graph.
    """
    with plain_arithmetic(), warnings.catch_warnings():
        warnings.simplefilter("error", TracerWarning)
        inputs = _example_inputs(model)
        traced: torch.jit.ScriptModule = torch.jit.trace_module(  # type: ignore[no-untyped-call]
            model, inputs, check_trace=False
        )
    for method in inputs:
        refuse_constants(getattr(traced, method).inlined_graph, method)  # without inlining it holds calls only
    return traced


@contextmanager
def plain_arithmetic() -> Iterator[None]:
    """No gradients, no autocast, no TF32: a traced convolution keeps that switch of the process that traced it."""
    with (
        torch.no_grad(),
        torch.autocast("cpu", enabled=False),
        torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
    ):
        yield


def save(traced: torch.jit.ScriptModule, path: Path) -> None:
    """Write a traced module so that the same model gives the same bytes from any folder.

    This holds for the first trace of a process: PyTorch numbers the classes of later ones on.
    """
    whole = BytesIO()
    torch.jit.save(traced, whole)
    # Given a path to write to, PyTorch aborts the process where the disk is full.
    path.write_bytes(_without_sources(whole))


def _example_inputs(model: MaskRCNN) -> dict[str, tuple[Tensor, ...]]:
    images = torch.rand(EXAMPLE_CANVAS, generator=torch.Generator().manual_seed(0))
    sizes = torch.tensor(EXAMPLE_SIZES)
    boxes, labels = torch.tensor(EXAMPLE_BOXES), torch.ones(len(EXAMPLE_BOXES), dtype=torch.int64)
    levels = model.features(images)[: model.levels]
    return {
        "forward": (images, sizes),
        "detect": (images, sizes),
        "explain": (images, sizes),
        "segment": (boxes, labels, torch.tensor([2, 1]), *levels),
    }


def refuse_constants(graph: torch.Graph, method: str) -> None:
    """Refuse a graph that only runs where it was made.

    Raises:
        ExportError: A device or a tensor is a constant of the graph.
    """
    for node in _nodes(graph):
        kind = node.output().type().kind() if node.kind() == "prim::Constant" else ""
        if kind == "TensorType" and node.t("value").dim() == 0:
            continue  # a number: it goes along with tensors of any device
        if kind in ("DeviceObjType", "TensorType"):
            place = str(node).strip()
            raise ExportError(
                f"the trace of {method} keeps a {kind} of this machine: {place}; this is a bug, report it"
            )


def _nodes(block: "torch.Graph | torch.Block") -> "Iterator[torch.Node]":
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _without_sources(whole: BytesIO) -> bytes:
    """Copy an archive record by record, in the order of their names."""
    whole.seek(0)
    reader, copy = torch._C.PyTorchFileReader(whole), BytesIO()
    writer = torch._C.PyTorchFileWriter(copy)
    for name in sorted(reader.get_all_records()):
        if not name.endswith(_LEFT_OUT):
            record = reader.get_record(name)
            writer.write_record(name, record, len(record))
    writer.set_min_version(int(reader.get_record("version")))
    writer.write_end_of_file()
    return copy.getvalue()
