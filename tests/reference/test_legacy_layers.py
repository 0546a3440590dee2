"""The layers written out, against PyTorch's own where it has one, else against a case worked by hand."""

import torch
import torch.nn.functional as F

from tests.reference.legacy_layers import DeformableConv, FrozenNorm, GroupNorm, bilinear
from tests.reference.legacy_roi_align import roi_align


def test_group_norm_is_pytorchs() -> None:
    torch.manual_seed(1)
    norm, x = GroupNorm(128), torch.randn(2, 128, 5, 3)
    norm.weight.data, norm.bias.data = torch.randn(2, 128)
    torch.testing.assert_close(norm(x), F.group_norm(x, 32, norm.weight, norm.bias, eps=1e-5))
    torch.testing.assert_close(norm(x[..., 0, 0]), F.group_norm(x[..., 0, 0], 32, norm.weight, norm.bias, eps=1e-5))


def test_frozen_norm_is_pytorchs() -> None:
    norm, x = FrozenNorm(8, eps=0.1), torch.randn(2, 8, 5, 3)
    norm.weight, norm.bias, norm.running_mean, norm.running_var = torch.rand(4, 8) + 0.5
    expected = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=0.1)
    torch.testing.assert_close(norm(x), expected)


def deformable(version: int, stride: int = 1, groups: int = 1) -> DeformableConv:
    layer = DeformableConv(8, stride, groups, version)
    layer.offset.weight.data.zero_()
    layer.offset.bias.data.zero_()
    layer.conv.weight.data.normal_()
    return layer


@torch.no_grad()
def test_offsets_of_0_make_a_plain_convolution() -> None:
    x = torch.randn(2, 8, 7, 6)
    for stride, groups in ((1, 1), (2, 4)):
        layer = deformable(1, stride, groups)
        plain = F.conv2d(x, layer.conv.weight, stride=stride, padding=1, groups=groups)
        torch.testing.assert_close(layer(x), plain, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_modulation_of_0_halves_every_tap() -> None:
    x, layer = torch.randn(2, 8, 7, 6), deformable(2)
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.conv.weight, padding=1) / 2, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_offsets_are_rows_before_columns() -> None:
    """Every tap two rows down and one column left is the convolution of the picture moved so."""
    x, layer = torch.randn(1, 8, 9, 9), deformable(1)
    layer.offset.bias.data[0::2], layer.offset.bias.data[1::2] = 2, -1
    plain = F.conv2d(x, layer.conv.weight, padding=1)
    torch.testing.assert_close(layer(x)[..., 1:6, 2:8], plain[..., 3:8, 1:7], atol=1e-5, rtol=1e-5)


def test_bilinear_fades_to_0_within_a_pixel_of_the_border() -> None:
    x = torch.tensor([[[[2.0, 4.0], [6.0, 8.0]]]])
    rows, columns = torch.tensor([[[0.5, -0.25, 1.75, 2.0]]]), torch.tensor([[[0.5, 0.0, 1.0, 0.0]]])
    assert bilinear(x, rows, columns).flatten().tolist() == [5, 1.5, 2, 0]


def test_roi_align_of_a_ramp_is_the_ramp_at_the_middle_of_each_bin() -> None:
    ramp = torch.arange(20.0).expand(1, 20, 20)
    box = torch.tensor([[8.0, 4, 24, 12]])  # 4 to 12 on a map of half the size: bins of 4, middles at 6 and 10
    for sampling in (0, 2):
        assert roi_align(ramp, box, 0.5, 2, sampling)[0, 0].tolist() == [[6, 10], [6, 10]]


def test_roi_align_reads_the_border_for_one_pixel_beyond_it() -> None:
    """A ROI from -3 to 1 has samples at -2.5, -1.5, -0.5 and 0.5: the first two are 0."""
    ones = torch.ones(1, 9, 9)
    out = roi_align(ones, torch.tensor([[-3.0, 2, 1, 6]]), 1.0, 2, 2)
    assert out[0, 0].tolist() == [[0, 1], [0, 1]]
