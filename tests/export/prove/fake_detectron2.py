"""Detectron2's functions that a proof calls, around its slow reference: what it is called with decides its answers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from export.configs.detectron2_values import BASE_FILES, BASES, DEFAULTS
from tests.reference import detectron2
from tests.reference.detectron2_boxes import clip
from tests.reference.detectron2_layers import paste
from tests.reference.detectron2_settings import TINY

PACKAGE = "detectron2"


class Config:
    """A configuration: dotted keys, and attributes all the way down."""

    def __init__(self, values: Mapping[str, Any], prefix: str = "") -> None:
        self.__dict__.update(values=dict(values), prefix=prefix)

    def __getattr__(self, name: str) -> Any:
        key = self.prefix + name
        if key in self.values:
            return self.values[key]
        if not any(other.startswith(f"{key}.") for other in self.values):
            raise AttributeError(key)
        return Config.view(self, f"{key}.")

    def __setattr__(self, name: str, value: Any) -> None:
        self.values[self.prefix + name] = value

    @classmethod
    def view(cls, whole: "Config", prefix: str) -> "Config":
        part = cls({}, prefix)
        part.__dict__["values"] = whole.values
        return part

    def merge_from_list(self, parts: Sequence[Any]) -> None:
        for key, value in zip(parts[::2], parts[1::2], strict=True):
            if key not in self.values:
                raise AssertionError(f"Non-existent key: {key}")
            self.values[key] = value


def get_cfg() -> Config:
    return Config({**DEFAULTS, "MODEL.DEVICE": "cuda", "MODEL.RESNETS.RES2_OUT_CHANNELS": 256})


def get_config(path: str) -> Config:
    made = get_cfg()
    made.values.update(BASES[BASE_FILES[path]])
    return made


def settings_of(config: Config) -> detectron2.Settings:
    values = config.values
    assert values["MODEL.DEVICE"] == "cpu"
    return replace(
        TINY,
        num_classes=values["MODEL.ROI_HEADS.NUM_CLASSES"],
        masks=values["MODEL.MASK_ON"],
        anchor_sizes=tuple(tuple(row) for row in values["MODEL.ANCHOR_GENERATOR.SIZES"]),
        anchor_ratios=tuple(values["MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS"][0]),
        pre_nms_top=values["MODEL.RPN.PRE_NMS_TOPK_TEST"],
        post_nms_top=values["MODEL.RPN.POST_NMS_TOPK_TEST"],
        score_threshold=values["MODEL.ROI_HEADS.SCORE_THRESH_TEST"],
        box_nms=values["MODEL.ROI_HEADS.NMS_THRESH_TEST"],
        detections=values["TEST.DETECTIONS_PER_IMAGE"],
        pixel_mean=tuple(values["MODEL.PIXEL_MEAN"]),
        pixel_std=tuple(values["MODEL.PIXEL_STD"]),
    )


class Instances(SimpleNamespace):
    def has(self, name: str) -> bool:
        return hasattr(self, name)


class Model(nn.Module):
    """Takes and gives what Detectron2's models do; its weights have the same names."""

    def __init__(self, settings: detectron2.Settings) -> None:
        super().__init__()
        self.settings = settings
        for name, part in detectron2.Detectron2(settings).named_children():
            self.add_module(name, part)

    def forward(self, inputs: list[dict[str, Any]]) -> list[dict[str, Instances]]:
        return [{"instances": self.answer(**each)} for each in inputs]

    def answer(self, image: Tensor, height: int, width: int) -> Instances:
        """``image`` is in the order of the channels that the network wants, (3, H, W) float32, 0 to 255."""
        assert image.dtype == torch.float32
        module = detectron2.Detectron2(self.settings)
        module.load_state_dict(self.state_dict())
        pixels = image.flip(0).permute(1, 2, 0)  # ``canvas`` takes RGB
        images, sizes = detectron2.canvas([pixels], self.settings)
        (found,) = module(images, sizes)
        ratio = torch.tensor([width / image.shape[2], height / image.shape[1]] * 2)
        boxes = clip(found.boxes * ratio, height, width)
        made = Instances(pred_boxes=SimpleNamespace(tensor=boxes), scores=found.scores, pred_classes=found.labels)
        if found.masks is not None:
            made.pred_masks = paste(found.masks, boxes, height, width)
        return made


class ResizeShortestEdge:
    def __init__(self, short_edge_length: list[int], max_size: int) -> None:
        assert short_edge_length[0] == short_edge_length[1]  # a range to draw from
        self.shortest, self.longest = short_edge_length[0], max_size

    def get_transform(self, image: np.ndarray[Any, Any]) -> SimpleNamespace:
        height, width = image.shape[:2]
        scale = min(self.shortest / min(height, width), self.longest / max(height, width))
        size = int(width * scale + 0.5), int(height * scale + 0.5)
        return SimpleNamespace(
            apply_image=lambda pixels: np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
        )


def modules() -> dict[str, ModuleType]:
    """What ``sys.modules`` holds where it is installed."""
    contents: dict[str, dict[str, Any]] = {
        PACKAGE: {},
        f"{PACKAGE}.config": {"get_cfg": get_cfg},
        f"{PACKAGE}.model_zoo": {"get_config": get_config},
        f"{PACKAGE}.modeling": {"build_model": lambda config: Model(settings_of(config))},
        f"{PACKAGE}.data": {},
        f"{PACKAGE}.data.transforms": {"ResizeShortestEdge": ResizeShortestEdge},
    }
    made = {name: ModuleType(name) for name in contents}
    for name, module in made.items():
        module.__dict__.update(contents[name])
    return made
