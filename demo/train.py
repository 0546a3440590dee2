"""Makes the demo checkpoint: torchvision's own Mask R-CNN, small, trained on drawn scenes.

    python -m demo.train --out shapes.pth                     on a GPU, minutes
    python -m demo.train --out shapes.pth --iterations 3 --batch 1 --evaluate 2     a try on a CPU

A tool for developers: it needs torchvision and, to measure the result, pycocotools; neither belongs to the set-up, and
nothing that exports or serves imports this. The checkpoint that lies here was made by an earlier program from the same
scenes; this schedule has not run to its end yet.
"""

import argparse
import contextlib
import io
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from demo.scenes import CLASSES, Scene, draw

CHANNELS, HIDDEN = 128, 256
MIN_SIZE, MAX_SIZE = 240, 400
HELD_OUT = 1_000_000_000  # seeds from here on are for measuring only
MOST_BYTES = 16 * 2**20
Target = dict[str, Tensor]


def build_model() -> nn.Module:
    """Every layer type of ``maskrcnn_resnet50_fpn``, and a seventh of its size."""
    from torchvision.models.detection import MaskRCNN
    from torchvision.models.detection.backbone_utils import BackboneWithFPN
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
    from torchvision.models.resnet import Bottleneck, ResNet

    body = ResNet(Bottleneck, [2, 2, 2, 2], width_per_group=16)
    stages = {f"layer{number}": str(number - 1) for number in range(1, 5)}
    made: nn.Module = MaskRCNN(
        BackboneWithFPN(body, stages, [256, 512, 1024, 2048], CHANNELS),
        min_size=MIN_SIZE,
        max_size=MAX_SIZE,
        box_head=TwoMLPHead(CHANNELS * 7**2, HIDDEN),
        box_predictor=FastRCNNPredictor(HIDDEN, len(CLASSES)),
        mask_head=MaskRCNNHeads(CHANNELS, (CHANNELS,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(CHANNELS, CHANNELS, len(CLASSES)),
    )
    return made


class Scenes(Dataset[tuple[Tensor, Target]]):
    """Scenes that are drawn when they are asked for: none is ever seen twice."""

    def __init__(self, count: int, first_seed: int, changed: bool) -> None:
        self._count, self._first_seed, self._changed = count, first_seed, changed

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        seed = self._first_seed + index
        scene = draw(seed)
        return as_tensors(change(scene, np.random.default_rng([seed, 1])) if self._changed else scene)


def change(scene: Scene, random: np.random.Generator) -> Scene:
    """Flip, transpose, permute the colours and shift the brightness."""
    image, masks = scene.image.astype(np.float32), scene.masks
    if random.random() < 0.5:
        image, masks = image[:, ::-1], masks[:, :, ::-1]
    if random.random() < 0.5:
        image, masks = image[::-1], masks[:, ::-1]
    if random.random() < 0.5:
        image, masks = image.transpose(1, 0, 2), masks.transpose(0, 2, 1)
    image = image[:, :, random.permutation(3)] * random.uniform(0.8, 1.2) + random.uniform(-20, 20)
    return Scene(image.clip(0, 255).astype(np.uint8), scene.labels, np.ascontiguousarray(masks))


def as_tensors(scene: Scene) -> tuple[Tensor, Target]:
    """What torchvision's model takes: (3, H, W) float32 in [0, 1], and the truth."""
    image = torch.from_numpy(np.ascontiguousarray(scene.image)).permute(2, 0, 1).float() / 255
    return image, {
        "boxes": torch.from_numpy(scene.boxes()),
        "labels": torch.from_numpy(scene.labels),
        "masks": torch.from_numpy(scene.masks.astype(np.uint8)),
    }


def batches(arguments: argparse.Namespace, device: torch.device) -> Iterator[tuple[list[Tensor], list[Target]]]:
    """Batches of new scenes on the device."""
    scenes = Scenes(arguments.iterations * arguments.batch, arguments.seed, changed=True)
    loader = DataLoader(scenes, arguments.batch, num_workers=arguments.workers, collate_fn=list, pin_memory=False)
    for batch in loader:
        yield (
            [image.to(device, non_blocking=True) for image, _ in batch],
            [{name: value.to(device, non_blocking=True) for name, value in truth.items()} for _, truth in batch],
        )


def learning_rate(step: int, arguments: argparse.Namespace) -> float:
    """Up along a line in the first twentieth, then down along a cosine."""
    warm_up = max(1, arguments.iterations // 20)
    if step < warm_up:
        return float(arguments.rate) * (step + 1) / warm_up
    return float(arguments.rate) * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (arguments.iterations - warm_up)))


def train(model: nn.Module, arguments: argparse.Namespace, device: torch.device) -> None:
    """The whole schedule: SGD with momentum, weight decay on the kernels only, clipped gradients."""
    decayed = [weights for weights in model.parameters() if weights.dim() > 1]
    others = [weights for weights in model.parameters() if weights.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 1e-4}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=arguments.rate, momentum=0.9, nesterov=True)
    begin = time.monotonic()
    model.train()
    for step, (images, truth) in enumerate(batches(arguments, device)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, arguments)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            losses = model(images, truth)
        loss = torch.stack(list(losses.values())).sum()
        if not math.isfinite(loss.item()):
            raise RuntimeError(f"the loss is {loss.item()} at step {step}; try a lower --rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        if step % arguments.every == 0 or step == arguments.iterations - 1:
            parts = ", ".join(f"{name.removeprefix('loss_')} {value.item():.3f}" for name, value in losses.items())
            print(f"{step:6} {time.monotonic() - begin:6.0f} s  loss {loss.item():.3f}: {parts}", flush=True)


@torch.inference_mode()
def evaluate(model: nn.Module, count: int, device: torch.device) -> dict[str, float]:
    """Average precision on scenes that were not trained on.

    Returns:
        ``box`` and ``mask``, COCO's mean over IoU 0.50 to 0.95.
    """
    model.eval()
    truth, found = list[dict[str, Any]](), list[dict[str, Any]]()
    for seed in range(HELD_OUT, HELD_OUT + count):
        image, target = as_tensors(draw(seed))
        answer = {name: value.cpu() for name, value in model([image.to(device)])[0].items()}
        truth += instances(seed, target["labels"], target["masks"])
        if len(target["labels"]):  # a scene of which too little shows is no picture of the truth
            found += instances(seed, answer["labels"], answer["masks"][:, 0] > 0.5, answer["boxes"], answer["scores"])
    return average_precision(truth, found) if found else {"box": 0.0, "mask": 0.0}


def instances(
    image: int, labels: Tensor, masks: Tensor, boxes: Tensor | None = None, scores: Tensor | None = None
) -> Iterator[dict[str, Any]]:
    """COCO's form of the instances of one picture; boxes around the masks where none are given."""
    from pycocotools import mask as coco

    for index, label in enumerate(labels.tolist()):
        rle = coco.encode(np.asfortranarray(masks[index].numpy().astype(np.uint8)))
        each = {"image_id": image, "category_id": label, "segmentation": rle, "area": float(coco.area(rle))}
        if boxes is None or scores is None:
            yield each | {"bbox": coco.toBbox(rle).tolist(), "iscrowd": 0}
        else:
            left, top, right, bottom = boxes[index].tolist()
            yield each | {"bbox": [left, top, right - left, bottom - top], "score": float(scores[index])}


def average_precision(truth: list[dict[str, Any]], found: list[dict[str, Any]]) -> dict[str, float]:
    """Of boxes and of masks."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    sizes = {each["image_id"]: each["segmentation"]["size"] for each in truth}
    precision = {}
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = {
            "info": {},
            "images": [{"id": image, "height": height, "width": width} for image, (height, width) in sizes.items()],
            "annotations": [each | {"id": number} for number, each in enumerate(truth, start=1)],
            "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES) if number],
        }
        known.createIndex()
        for name, kind in (("box", "bbox"), ("mask", "segm")):
            evaluation = COCOeval(known, known.loadRes([dict(each) for each in found]), kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            precision[name] = float(evaluation.stats[0])
    return precision


def save(model: nn.Module, path: Path) -> None:
    """A plain state dict, floats as float16.

    Raises:
        RuntimeError: The file is larger than the demo's may be.
    """
    state = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    torch.save({name: value.cpu() for name, value in state.items()}, path)
    if path.stat().st_size > MOST_BYTES:
        raise RuntimeError(f"{path} has {path.stat().st_size} bytes, more than {MOST_BYTES}")


def main(given: Sequence[str] | None = None) -> None:
    """Train, save, measure."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint to write")
    parser.add_argument("--iterations", type=int, default=12_000)
    parser.add_argument("--batch", type=int, default=16, help="scenes an iteration")
    parser.add_argument("--rate", type=float, default=0.02, help="the highest learning rate")
    parser.add_argument("--seed", type=int, default=1, help="of the weights and the first scene")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw scenes; about as many as cores")
    parser.add_argument("--every", type=int, default=100, help="iterations between two lines of progress")
    parser.add_argument("--evaluate", type=int, default=120, help="held-out scenes to measure on; 0: none")
    arguments = parser.parse_args(given)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(arguments.seed)
    model = build_model().to(device)
    train(model, arguments, device)
    save(model, arguments.out)
    print(f"made {arguments.out}, {arguments.out.stat().st_size / 1e6:.1f} MB", file=sys.stderr)
    if arguments.evaluate:
        print({name: round(value, 4) for name, value in evaluate(model, arguments.evaluate, device).items()})


if __name__ == "__main__":
    main()
