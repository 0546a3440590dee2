import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from export.conventions import Body, Proposals
from export.model import body
from export.model.anchors import cell_anchors
from export.model.layers import Layers
from export.network.architecture import Architecture, ResidualBody
from export.network.weights import import_weights
from tests.export import tiny
from tests.export.network.test_weights import GOLDEN

STRIDES = (4, 8, 16, 32, 64)


@pytest.mark.parametrize("eps", [0.0, 1e-5, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_folded_norm_is_the_norm(eps: float, dtype: torch.dtype) -> None:
    weights = {name: tensor.to(dtype) for name, tensor in import_weights(tiny.state_dict()).weights.items()}
    conv, norm = "body.stage1.0.conv2", "body.stage1.0.conv2.norm"
    folded = Layers(weights, Body(norm_eps=eps)).conv(conv, stride=2)
    # By hand: PyTorch 2.11's own norm refuses an eps of 0.
    scale, shift, mean, variance = (
        weights[f"{norm}.{part}"].float()[:, None, None] for part in ("weight", "bias", "mean", "variance")
    )
    features = torch.randn(2, 8, 9, 12)
    convolved = F.conv2d(features, weights[f"{conv}.weight"].float(), stride=2, padding=1)
    expected = (convolved - mean) / (variance + eps).sqrt() * scale + shift
    torch.testing.assert_close(folded(features), expected, atol=1e-5, rtol=1e-5)  # rounding of float32
    assert folded.weight.dtype == torch.float32
    assert not folded.weight.requires_grad


def body_of(architecture: Architecture, rules: Body) -> body.Body:
    imported = import_weights(tiny.state_dict(architecture))
    assert isinstance(architecture.body, ResidualBody)
    return body.Body(Layers(imported.weights, rules), architecture, architecture.body, rules)


@pytest.mark.parametrize("stride_in_1x1", [False, True])
def test_the_stride_is_where_training_had_it(stride_in_1x1: bool) -> None:
    block = body_of(tiny.BOTTLENECK, Body(stride_in_1x1=stride_in_1x1)).stages[1][0]
    strides = [conv.stride for conv in block.convs]
    assert strides == ([(2, 2), (1, 1), (1, 1)] if stride_in_1x1 else [(1, 1), (2, 2), (1, 1)])
    assert block.shortcut.stride == (2, 2)


def test_basic_blocks_stride_in_the_first_convolution() -> None:
    stages = body_of(tiny.BASIC, Body()).stages
    assert [conv.stride for conv in stages[2][0].convs] == [(2, 2), (1, 1)]
    assert isinstance(stages[0][0].shortcut, nn.Identity)  # 8 channels in, 8 out


def test_rounded_anchors_are_torchvisions() -> None:
    golden = np.load(GOLDEN / "anchors.npz")
    anchors = cell_anchors(Proposals(), STRIDES)
    for level in range(5):
        np.testing.assert_array_equal(anchors[level].numpy(), golden[f"cell_{level}"])


def test_exact_anchors_are_detectron2s() -> None:
    # sqrt(32 ** 2 / 0.5) / 2 = 22.627 across, half of it down
    first = cell_anchors(Proposals(anchor_rounding="exact"), STRIDES)[0]
    torch.testing.assert_close(first[0], torch.tensor([-22.6274170, -11.3137085, 22.6274170, 11.3137085]))
    torch.testing.assert_close(first[1], torch.tensor([-16.0, -16.0, 16.0, 16.0]))


def test_window_anchors_are_maskrcnn_benchmarks() -> None:
    # a 4x4 window at ratio 0.5: 6x3 after rounding, eight times that: 48x24 pixels around (1.5, 1.5), corners included
    first = cell_anchors(Proposals(anchor_rounding="windows"), STRIDES)[0]
    assert first[0].tolist() == [-22.0, -10.0, 25.0, 13.0]
    assert first[1].tolist() == [-14.0, -14.0, 17.0, 17.0]
