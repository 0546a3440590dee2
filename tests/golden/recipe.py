"""Deterministic weights and inputs for the Mask R-CNN golden files.  numpy only.
make_param(name, shape) -> np.ndarray(float32) for every state_dict key but *.num_batches_tracked
(those are 0, int64).  make_image(k) -> np.ndarray(float32, [3,H,W]) in [0,1]."""

import zlib

import numpy as np

GAINS = (  # first matching substring wins; weights with rank >= 2 only
    ("backbone.body.conv1.weight", 1.4142135),
    ("downsample.0.weight", 1.0),
    ("conv3.weight", 1.0),
    ("backbone.body.", 1.4142135),
    ("backbone.fpn.inner_blocks", 1.0),
    ("backbone.fpn.layer_blocks.0", 0.5),
    ("backbone.fpn.layer_blocks.1", 1.3),
    ("backbone.fpn.layer_blocks.2", 2.4),
    ("backbone.fpn.layer_blocks.3", 4.5),
    ("rpn.head.conv", 1.4142135),
    ("rpn.head.cls_logits", 5.0),
    ("rpn.head.bbox_pred", 1.0),
    ("roi_heads.box_head.5.weight", 2.8),
    ("box_predictor.cls_score", 8.0),
    ("box_predictor.bbox_pred", 1.0),
    ("mask_predictor.mask_fcn_logits", 3.0),
    ("", 1.4142135),
)
BG_BIAS = 13.0  # models v1_*: 13.0, model v2: 12.5 (pass bg_bias=); recorded as 'bg_bias' in each model npz


def make_param(name, shape, bg_bias=BG_BIAS):
    shape = tuple(int(s) for s in shape)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    z = np.round(rng.standard_normal(shape) * 4096.0) / 4096.0  # multiples of 2^-12: exact in float64
    if name.endswith("running_mean"):
        return (0.1 * z).astype(np.float32)
    if name.endswith("running_var"):
        return (1.0 + 0.25 * np.tanh(z)).astype(np.float32)
    if len(shape) == 1 and name.endswith(".weight"):  # batch-norm scale
        base = 0.4 if ".bn3." in name else 1.0
        return (base * (1.0 + 0.1 * np.tanh(z))).astype(np.float32)
    if name.endswith(".bias"):
        v = 0.05 * z
        if name == "roi_heads.box_predictor.cls_score.bias":
            v[0] += bg_bias
        return v.astype(np.float32)
    gain = next(g for s, g in GAINS if s in name)
    fan_in = int(np.prod(shape[1:])) if "conv5_mask" not in name else shape[0]
    axes = tuple(range(1, len(shape))) if "conv5_mask" not in name else (0,)
    z = z - z.mean(axis=axes, keepdims=True)  # zero-sum filters: no DC build-up after ReLU
    return (z * (gain / np.sqrt(fan_in))).astype(np.float32)


def state_dict_numpy(shapes, bg_bias=BG_BIAS):
    """shapes: {name: shape}.  num_batches_tracked entries -> int64 zero."""
    return {
        k: (np.zeros((), np.int64) if k.endswith("num_batches_tracked") else make_param(k, s, bg_bias))
        for k, s in shapes.items()
    }


SIZES = ((240, 320), (200, 300))


def make_image(k):
    height, width = SIZES[k]
    y, x = np.meshgrid(np.arange(height, dtype=np.float64), np.arange(width, dtype=np.float64), indexing="ij")
    img = np.empty((3, height, width))
    for c in range(3):
        img[c] = 0.5 + 0.15 * np.sin(0.031 * (c + 1) * x + 0.5 * k) * np.cos(0.023 * (3 - c) * y + 0.3 * c)
    rng = np.random.default_rng(1000 + k)
    for _ in range(14):  # filled rectangles and discs, textured
        cx, cy = rng.integers(0, width), rng.integers(0, height)
        rw, rh = rng.integers(8, width // 4), rng.integers(8, height // 4)
        col = rng.integers(0, 256, 3) / 255.0
        f = rng.integers(1, 30) / 20.0
        m = (
            (np.abs(x - cx) < rw) & (np.abs(y - cy) < rh)
            if rng.integers(0, 2)
            else ((x - cx) / rw) ** 2 + ((y - cy) / rh) ** 2 < 1.0
        )
        tex = 0.12 * np.sin(f * x) * np.sin(f * y)
        for c in range(3):
            img[c] = np.where(m, col[c] + tex, img[c])
    img += rng.integers(-128, 128, img.shape) / 128.0 * 0.04  # noise
    return (np.clip(np.round(img * 255.0), 0, 255) / 255.0).astype(np.float32)
