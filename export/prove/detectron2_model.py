"""The user's checkpoint in Detectron2's own model.

Detectron2 reads its own configuration here: the user's file, the one of its zoo that the preset is named after, or its
base of this kind of network. Only what the user changed for this export is changed in it.

Written after Detectron2's documented functions and not yet run with it: it has no release for today's PyTorch.

Source: detectron2 084acd0f, ``engine/defaults.py`` (``DefaultPredictor``), ``model_zoo/model_zoo.py``,
``modeling/meta_arch/rcnn.py``.
"""

import re
from collections.abc import Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from export.agreement import claims_of
from export.configs.detectron2_names import NAMED
from export.configs.detectron2_values import BASE_FILES
from export.errors import ExportError
from export.presets import plain_name
from export.prove.answers import Answer, Framework
from export.prove.source import Source, framework_module

# Section and field of our conventions -> the key of its configuration.
KEYS = {
    ("body", "stride_in_1x1"): "MODEL.RESNETS.STRIDE_IN_1X1",
    ("preprocessing", "min_size"): "INPUT.MIN_SIZE_TEST",
    ("preprocessing", "max_size"): "INPUT.MAX_SIZE_TEST",
    ("proposals", "anchor_sizes"): "MODEL.ANCHOR_GENERATOR.SIZES",
    ("proposals", "anchor_ratios"): "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS",
    ("proposals", "pre_nms_top_n"): "MODEL.RPN.PRE_NMS_TOPK_TEST",
    ("proposals", "post_nms_top_n"): "MODEL.RPN.POST_NMS_TOPK_TEST",
    ("detections", "score_threshold"): "MODEL.ROI_HEADS.SCORE_THRESH_TEST",
    ("detections", "nms_threshold"): "MODEL.ROI_HEADS.NMS_THRESH_TEST",
    ("detections", "max_detections"): "TEST.DETECTIONS_PER_IMAGE",
}
# Buffers that its files once had and that its model does not load, and counters that old files lack.
_NOT_LOADED = re.compile(r"pixel_(mean|std)|proposal_generator\.anchor_generator\.cell_anchors\.\d+")
_NOT_NEEDED = re.compile(r".*\.num_batches_tracked")


def detectron2_framework(source: Source) -> Framework:
    """Detectron2 with the weights of a checkpoint.

    Raises:
        ExportError: Detectron2 is not importable, or its configuration describes another network.
    """
    framework_module("detectron2")
    config = _config(source)
    try:
        config.merge_from_list([part for key, value in _changes(source) for part in (key, value)])
        model = framework_module("detectron2.modeling").build_model(config).eval()
        loaded = model.load_state_dict(source.checkpoint.tensors, strict=False)
    except (RuntimeError, KeyError, ValueError, AssertionError) as error:
        raise ExportError(f"Detectron2 does not build this network, so --prove cannot run it: {error}") from error
    _check_loaded(loaded.missing_keys, loaded.unexpected_keys)
    transforms = framework_module("detectron2.data.transforms")
    shortest = config.INPUT.MIN_SIZE_TEST
    resize = transforms.ResizeShortestEdge([shortest, shortest], config.INPUT.MAX_SIZE_TEST)
    return Framework("detectron2", _version(), partial(_find, model, resize, config.INPUT.FORMAT == "BGR"))


def _find(model: Any, resize: Any, bgr: bool, picture: Tensor) -> Answer:
    """One picture as Detectron2's predictor gives it to a model."""
    pixels = np.ascontiguousarray(picture.numpy()[:, :, ::-1] if bgr else picture.numpy())
    height, width = pixels.shape[:2]
    resized = resize.get_transform(pixels).apply_image(pixels)
    image = torch.as_tensor(np.ascontiguousarray(resized.astype("float32").transpose(2, 0, 1)))
    found = model([{"image": image, "height": height, "width": width}])[0]["instances"]
    masks = found.pred_masks if found.has("pred_masks") else None
    return Answer(found.pred_boxes.tensor, found.scores, found.pred_classes, masks)


def _config(source: Source) -> Any:
    """Its configuration before the user's changes."""
    made, name = framework_module("detectron2.config").get_cfg(), source.choices.preset
    zoo = framework_module("detectron2.model_zoo")
    if source.choices.config:
        made.merge_from_file(str(source.choices.config), allow_unsafe=False)
    elif name is None or name == "detectron2":
        kind = source.imported.architecture.kind
        file = next(file for file, of_kind in BASE_FILES.items() if of_kind == kind)
        made = zoo.get_config(file)
        made.merge_from_list([part for key, value in _of_shapes(source) for part in (key, value)])
    elif name.startswith("new_baselines/"):  # Python code there, for which the preset has the keys
        made.merge_from_list([part for key, value in NAMED[plain_name(name)].items() for part in (key, value)])
    else:
        made = zoo.get_config(f"{plain_name(name)}.yaml")
    made.MODEL.DEVICE = "cpu"
    return made


def _of_shapes(source: Source) -> Iterator[tuple[str, Any]]:
    """What a base leaves to the training; a network that differs in more needs its name or its file."""
    claims = claims_of(source.imported.architecture)
    yield "MODEL.ROI_HEADS.NUM_CLASSES", claims.classes
    yield "MODEL.MASK_ON", claims.has_masks
    if claims.depth is not None:
        yield "MODEL.RESNETS.DEPTH", claims.depth
        if claims.depth < 50:
            yield "MODEL.RESNETS.RES2_OUT_CHANNELS", 64


def _changes(source: Source) -> Iterator[tuple[str, Any]]:
    """What the user, or the checkpoint itself, says otherwise."""
    pre = source.decision.conventions.preprocessing
    if "mean" in source.imported.trained:
        yield "MODEL.PIXEL_MEAN", list(pre.mean)
    if "std" in source.imported.trained:
        yield "MODEL.PIXEL_STD", list(pre.std)
    for section, fields in source.choices.changes.items():
        for field, value in fields.items():
            if value is None:
                continue
            if (section, field) not in KEYS:
                raise ExportError(f"--prove: Detectron2 has no setting for {field}; leave that option or --prove out")
            # Ratios are lists of one list for all levels there.
            rows = [value] if field == "anchor_ratios" else value
            listed = [list(row) for row in rows] if field.startswith("anchor_") else rows
            yield KEYS[section, field], listed


def _check_loaded(missing: list[str], unexpected: list[str]) -> None:
    lacking = [name for name in missing if not _NOT_NEEDED.fullmatch(name)]
    unread = [name for name in unexpected if not _NOT_LOADED.fullmatch(name)]
    if lacking or unread:
        raise ExportError(
            f"Detectron2 builds another network than the checkpoint's: {len(lacking)} weights are missing and "
            f"{len(unread)} unexpected, first {(lacking + unread)[0]}; give the --preset or the --config that it was "
            "trained with"
        )


def _version() -> str:
    try:
        return version("detectron2")
    except PackageNotFoundError:  # run from its folder
        return "unknown"
