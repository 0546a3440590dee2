from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from torch import Tensor, nn

from export import trace
from export.archive import REPOSITORY
from export.conventions import Conventions
from export.errors import ExportError
from export.model import MaskRCNN
from export.network.architecture import Architecture
from export.network.weights import import_weights
from tests.export import tiny

CONVENTIONS = Conventions().with_options("proposals", pre_nms_top_n=50, post_nms_top_n=40)
FULL = Path("/dev/full")
# Anything but the canvas and the batch that the trace was made with.
SHAPES = [(1, 64, 96), (2, 96, 64), (3, 128, 128), (4, 32, 160), (5, 64, 64), (6, 75, 91), (7, 32, 32), (8, 64, 32)]


def tiny_model(architecture: Architecture = tiny.BOTTLENECK, conventions: Conventions = CONVENTIONS) -> MaskRCNN:
    imported = import_weights(tiny.state_dict(architecture))
    return MaskRCNN(imported.weights, imported.architecture, conventions)


@pytest.fixture(scope="module")
def model() -> MaskRCNN:
    return tiny_model()


@pytest.fixture(scope="module")
def saved(model: MaskRCNN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trace") / "model.pt"
    trace.save(trace.trace(model), path)
    return path


def pictures(batch: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    images = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(batch))
    return images, torch.tensor([(height - index, width - index) for index in range(batch)])


@torch.inference_mode()
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_holds_for_other_shapes(shape: tuple[int, int, int], model: MaskRCNN, saved: Path) -> None:
    loaded = torch.jit.load(saved)
    inputs = pictures(*shape)
    expected = model(*inputs)
    assert expected[4].sum() > 0
    for ours, theirs in zip(loaded(*inputs), expected, strict=True):
        assert torch.equal(ours, theirs)
    for ours, theirs in zip(loaded.detect(*inputs), model.detect(*inputs), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.skipif(not FULL.exists(), reason="this system has no disk that is always full")
def test_a_full_disk_is_an_error_and_not_an_abort(saved: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        trace.save(torch.jit.load(saved), FULL)


@torch.inference_mode()
@pytest.mark.parametrize("size", [(1, 1), (32, 32)], ids=["one pixel", "blank"])
def test_holds_where_nothing_is_found(size: tuple[int, int], saved: Path) -> None:
    never = tiny_model(conventions=CONVENTIONS.with_options("detections", score_threshold=0.9999))
    path = saved.with_name("never.pt")
    trace.save(trace.trace(never), path)
    boxes, scores, labels, masks, counts = torch.jit.load(path)(torch.zeros(3, 3, 32, 32), torch.tensor([size] * 3))
    assert (boxes.shape, scores.shape, labels.shape, masks.shape) == ((0, 4), (0,), (0,), (0, 28, 28))
    assert counts.tolist() == [0, 0, 0]


@torch.inference_mode()
@pytest.mark.parametrize("architecture", tiny.ALL.values(), ids=tiny.ALL.keys())
def test_holds_for_other_networks(architecture: Architecture, tmp_path: Path) -> None:
    sizes = ((32.0,), (64.0,), (128.0,), (256.0,), (512.0,))[: len(architecture.strides())]
    model = tiny_model(architecture, CONVENTIONS.with_options("proposals", anchor_sizes=sizes))
    trace.save(trace.trace(model), tmp_path / "model.pt")
    inputs = pictures(3, 64, 96)
    for ours, theirs in zip(torch.jit.load(tmp_path / "model.pt")(*inputs), model(*inputs), strict=True):
        assert torch.equal(ours, theirs)


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_follows_the_dtype_of_its_weights(dtype: torch.dtype, model: MaskRCNN, saved: Path) -> None:
    loaded = torch.jit.load(saved).to(dtype)
    boxes, scores, _, masks, counts = loaded(*pictures(2, 96, 64))
    assert (boxes.dtype, scores.dtype, masks.dtype) == (torch.float32,) * 3
    assert boxes.isfinite().all()
    assert masks.isfinite().all()
    assert torch.equal(loaded.proposals.fixed_point_anchors, model.proposals.fixed_point_anchors)


@torch.inference_mode()
def test_segment_ignores_padding(model: MaskRCNN, saved: Path) -> None:
    boxes, _, labels, _, counts, *levels = model.detect(*pictures(2, 96, 64))
    kept = torch.tensor([2, 1])
    rows = torch.cat([boxes[0, :2], boxes[1, :1]])
    names = torch.cat([labels[0, :2], labels[1, :1]])
    loaded = torch.jit.load(saved)
    exact = loaded.segment(rows, names, kept, *levels)
    padded = loaded.segment(
        torch.cat([rows, torch.zeros(5, 4)]), torch.cat([names, names[:1].repeat(5)]), kept, *levels
    )
    torch.testing.assert_close(padded[:3], exact, atol=1e-6, rtol=0)  # another batch may be blocked differently


def test_names_no_path(saved: Path) -> None:
    with ZipFile(saved) as file:
        names = file.namelist()
        content = b"".join(file.read(name) for name in names)
    assert not [name for name in names if name.endswith(".debug_pkl")]
    assert str(REPOSITORY).encode() not in content
    assert b"site-packages" not in content


class KeepsADevice(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return values + torch.arange(3, device=values.device)


NEITHER_PARAMETER_NOR_BUFFER = torch.tensor([1.0, 2.0, 3.0])


class KeepsATensor(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return values + NEITHER_PARAMETER_NOR_BUFFER


class KeepsADeviceForSegment(MaskRCNN):
    """Deep in the network: its own graph of the method holds a call only."""

    def __init__(self) -> None:
        imported = import_weights(tiny.state_dict())
        super().__init__(imported.weights, imported.architecture, CONVENTIONS)
        self.mask_head.convs.append(KeepsAChannel())


class KeepsAChannel(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features + torch.zeros(1, device=features.device)


@pytest.mark.parametrize("module", [KeepsADevice(), KeepsATensor()])
def test_refuses_what_belongs_to_this_machine(module: nn.Module) -> None:
    traced = torch.jit.trace(module, torch.zeros(3), check_trace=False)
    with pytest.raises(ExportError, match="keeps a"):
        trace.refuse_constants(traced.graph, "forward")


def test_refuses_a_network_that_keeps_a_device_in_a_layer() -> None:
    with pytest.raises(ExportError, match="keeps a DeviceObjType"):
        trace.trace(KeepsADeviceForSegment())


def test_no_device_stands_in_the_graphs(saved: Path) -> None:
    loaded = torch.jit.load(saved)
    for method in ("forward", "detect", "explain", "segment"):
        graph = getattr(loaded, method).inlined_graph
        kinds = {node.output().type().kind() for node in graph.findAllNodes("prim::Constant")}
        assert "IntType" in kinds  # it is the whole network that is searched
        assert "DeviceObjType" not in kinds


@pytest.mark.skipif(
    torch.__version__ < "2.13", reason="torch.export of PyTorch 2.11 fixes the parity of the grids' sides"
)
def test_stays_exportable(model: MaskRCNN) -> None:
    batch, height, width = torch.export.Dim("batch", max=8), torch.export.Dim.DYNAMIC, torch.export.Dim.DYNAMIC
    dynamic = ({0: batch, 2: height, 3: width}, {0: batch})
    # Large enough for two cells on the coarsest level: torch.export takes a side of 1 for a constant.
    exported = torch.export.export(model, pictures(2, 160, 224), dynamic_shapes=dynamic, strict=False)
    inputs = pictures(3, 256, 192)
    for ours, theirs in zip(exported.module()(*inputs), model(*inputs), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_no_convolution_may_drop_to_tf32(saved: Path) -> None:
    """The last input of a traced convolution is PyTorch's switch as it was while tracing; float32 means float32."""
    before = torch.backends.cudnn.allow_tf32
    trace.trace(tiny_model())
    assert torch.backends.cudnn.allow_tf32 is before
    loaded = torch.jit.load(saved)
    for method in ("forward", "detect", "explain", "segment"):
        convs = [node for node in getattr(loaded, method).inlined_graph.nodes() if node.kind() == "aten::_convolution"]
        assert len(convs) >= 2
        assert not any(list(conv.inputs())[-1].toIValue() for conv in convs)
