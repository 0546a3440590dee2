"""Made-up weights under which a network behaves like a trained one: activations of order 1, a few sure detections."""

import math
import re

import numpy as np
import torch
from torch import Tensor, nn

from tests.reference.detectron2_layers import BatchNorm
from tests.reference.detectron2_model import Detectron2, canvas
from tests.reference.detectron2_settings import Settings

SHARE = 0.015  # of the proposals, that show a given class
SHOWN = -3.0  # logit of a class over the background with which it does: a score of about 0.05
# How much a layer's outputs spread when its inputs are of order 1; the first pattern found in the name decides.
SPREADS = (
    (r"conv2_offset", 1.5),  # pixels by which a tap moves
    (r"objectness_logits", 2.0),
    (r"anchor_deltas", 0.4),
    (r"cls_score", 6.0),
    (r"bbox_pred", 1.0),
    (r"mask_head\.predictor", 4.0),
    (r"fpn_", 0.5),
    (r"", math.sqrt(2.0)),  # what a ReLU halves
)
OUTPUTS = re.compile(r"cls_score|bbox_pred|predictor\.weight|conv2_offset")
LAST_NORM = re.compile(r"backbone\..*conv3\.norm\.weight")  # of a residual: small, so that blocks do not add up


def synthetic(settings: Settings, seed: int) -> Detectron2:
    """A network with random weights that finds several classes on ``pictures()``."""
    module, generator = Detectron2(settings), torch.Generator().manual_seed(seed)
    state = {name: drawn(name, value, generator) for name, value in module.state_dict().items()}
    module.load_state_dict(state)
    grow_proposals(module)
    images, sizes = canvas(pictures(), settings)
    calibrate(module, images, sizes)
    balance(module, images, sizes)
    return module.requires_grad_(False)


def drawn(name: str, value: Tensor, generator: torch.Generator) -> Tensor:
    """Random values for one entry of the state."""
    if name.endswith("num_batches_tracked"):
        return torch.tensor(90000)
    noise = torch.randn(value.shape, generator=generator)
    if name.endswith("weight") and value.dim() == 1:  # of a norm
        return (0.4 if LAST_NORM.search(name) else 1.0) * (1 + 0.1 * noise)
    if value.dim() == 1:
        return 0.1 * noise + (1.0 if name.endswith("running_var") else 0.0)
    fan = len(value) if "deconv" in name else value[0].numel()
    if OUTPUTS.search(name):  # the sum over the inputs is zero, else what all features share drowns the rest
        noise = noise - noise.mean(dim=tuple(range(1, noise.dim())), keepdim=True)
    spread = next(spread for pattern, spread in SPREADS if re.search(pattern, name))
    return noise * spread / math.sqrt(fan)


@torch.no_grad()
def grow_proposals(module: Detectron2) -> None:
    """Make proposals twice the size of their anchors, so that small pictures fill more levels of a pyramid."""
    bias = module.proposal_generator.rpn_head.anchor_deltas.bias
    bias.view(-1, 4)[:, 2:] += math.log(2.0)


@torch.no_grad()
def calibrate(module: Detectron2, images: Tensor, sizes: Tensor) -> None:
    """Let every batch norm take its statistics from what it sees, as after training."""
    norms = [norm for norm in module.modules() if isinstance(norm, BatchNorm)]
    heads = any(isinstance(layer, BatchNorm) for layer in module.roi_heads.modules())
    for norm in norms:
        norm.calibrating = True
    if heads:
        module(images, sizes)
    else:
        module.backbone(images)
    for norm in norms:
        norm.calibrating = False


@torch.no_grad()
def balance(module: Detectron2, images: Tensor, sizes: Tensor) -> None:
    """Shift the classes of each stage of the cascade until each is shown by a few proposals."""
    features, seen = module.backbone(images), []
    for index, (boxes, _) in enumerate(module.proposal_generator(features, sizes)):
        outputs = module.stages([level[index] for level in features], boxes, sizes[index].tolist())
        seen.append(torch.stack([logits[:, :-1] - logits[:, -1:] for logits, _ in outputs]))
    heads = module.roi_heads.box_predictor
    stages = heads if isinstance(heads, nn.ModuleList) else [heads]
    for head, margins in zip(stages, torch.cat(seen, dim=1), strict=True):  # (proposals, K)
        head.cls_score.bias[:-1] += SHOWN - margins.quantile(1 - SHARE, dim=0)


def pictures() -> list[Tensor]:
    """Two pictures (H, W, 3) uint8 RGB: rectangles on noise. No side is divisible by a stride; p4 is reached."""
    return [picture(250, 309, seed=1), picture(183, 139, seed=2)]


def picture(height: int, width: int, seed: int) -> Tensor:
    random = np.random.default_rng(seed)
    coarse = random.integers(40, 216, (height // 8 + 1, width // 8 + 1, 3))
    values = np.kron(coarse, np.ones((8, 8, 1), np.int64))[:height, :width]
    for _ in range(12):
        top, left = random.integers(0, height - 16), random.integers(0, width - 16)
        rows, cols = random.integers(12, height // 2), random.integers(12, width // 2)
        patch = values[top : top + rows, left : left + cols]
        patch[:] = (patch + 3 * random.integers(0, 256, 3)) // 4
    return torch.from_numpy(values.astype(np.uint8))
