"""Named conventions: what a kind of checkpoint was trained with, by name or by the framework's own configuration."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path

from export.configs import detectron2, detectron2_names, maskrcnn_benchmark, maskrcnn_benchmark_names, torchvision
from export.configs.claims import Claims
from export.configs.config import Config, Values
from export.configs.detectron2_values import BASE_FILES
from export.configs.yaml_file import read_yaml
from export.conventions import Boxes, Conventions
from export.errors import ExportError
from export.kinds import Format, Kind, framework_of


@dataclass(frozen=True)
class _Framework:
    """A framework with configurations: how one is checked, interpreted and found by name."""

    config: Callable[[str, Values], Config]
    kind: Callable[[Config], Kind]
    conventions: Callable[[Config], Conventions]
    claims: Callable[[Config], Claims]
    family: Callable[[Kind], Values]
    named: dict[str, Values]


_DETECTRON2 = _Framework(
    detectron2.detectron2_config,
    detectron2.config_kind,
    detectron2.detectron2_conventions,
    detectron2.detectron2_claims,
    detectron2.family_values,
    detectron2_names.NAMED,
)
_MASKRCNN_BENCHMARK = _Framework(
    maskrcnn_benchmark.maskrcnn_benchmark_config,
    maskrcnn_benchmark.config_kind,
    maskrcnn_benchmark.maskrcnn_benchmark_conventions,
    maskrcnn_benchmark.maskrcnn_benchmark_claims,
    maskrcnn_benchmark.family_values,
    maskrcnn_benchmark_names.NAMED,
)
_FRAMEWORKS: dict[Format, _Framework] = {
    "maskrcnn-benchmark": _MASKRCNN_BENCHMARK,
    "detectron2": _DETECTRON2,
}
# What a framework does where nothing is known but the kind of network. -cpu: suppressed at the threshold too.
_FAMILIES: dict[str, Format] = {
    "maskrcnn-benchmark": "maskrcnn-benchmark",
    "maskrcnn-benchmark-cpu": "maskrcnn-benchmark",
    "detectron2": "detectron2",
}
# A family's blocks stride in their 1x1 convolutions and its pictures are not divided by a deviation, as in the models
# that began with MSRA's ResNets. ResNeXts, group norms, deformable convolutions and the new baselines began otherwise,
# so they need a name or a configuration.
_FAMILY_CLAIMS = Claims(
    groups=1,
    body_norm="batch",
    pyramid_norm="none",
    rpn_convs=1,
    deformable_stages=(False,) * 4,
    box_convs=0,
    mask_norm="none",
)

_OF_OUR_OWN = (*torchvision.CONVENTIONS, *_FAMILIES)
# The frameworks' own configs.
FRAMEWORK_PRESETS: tuple[str, ...] = (*_MASKRCNN_BENCHMARK.named, *_DETECTRON2.named)
PRESETS: tuple[str, ...] = (*_OF_OUR_OWN, *FRAMEWORK_PRESETS)

# Patterns of the frameworks' names that no preset has, lower case, the first that fits.
_REFUSED = (
    ("*keypoint*", "it has a keypoint head"),
    ("*retinanet*", "it is a RetinaNet, which has no second stage"),
    ("*fcos*", "it is an FCOS, which has no second stage"),
    ("*panoptic*", "it segments the background too (Panoptic FPN)"),
    ("*semantic*", "it segments without instances"),
    ("*pointrend*", "it has a PointRend head"),
    ("*fbnet*", "its body is an FBNet"),
    ("*regnet*", "its body is a RegNet"),
    ("*vitdet*", "its body is a vision transformer"),
    ("*mvit*", "its body is a vision transformer"),
    ("*swin*", "its body is a Swin transformer"),
    ("*mmdet*", "it wraps a network of MMDetection"),
    ("*densepose*", "it has a DensePose head"),
    ("*fast_rcnn*", "it is a Fast R-CNN, without a proposal network of its own"),
    ("rpn_*", "it is a proposal network alone"),
    ("*/rpn_*", "it is a proposal network alone"),
    ("*imagenet*", "it is a classifier"),
)


def preset(name: str, kind: Kind) -> Conventions:
    """Look up a preset.

    Args:
        name: One of ``PRESETS``; a framework's name of a file may have its extension.
        kind: The network that the checkpoint holds.

    Raises:
        ExportError: There is none of that name, or it is of another kind.
    """
    name = _known(name)
    if name in torchvision.CONVENTIONS:
        _check_kind(name, "fpn", kind)
        return torchvision.CONVENTIONS[name]
    framework = _FRAMEWORKS[framework_of(preset_format(name))]
    config = framework.config(name, framework.family(kind) if name in _FAMILIES else framework.named[name])
    _check_kind(name, framework.kind(config), kind)
    made = framework.conventions(config)
    if name in _FAMILIES:
        made = replace(made, class_names=None)  # of which classes, nobody said
    return replace(made, boxes=Boxes(legacy=True, inclusive_nms=True)) if name == "maskrcnn-benchmark-cpu" else made


def preset_format(name: str) -> Format:
    """The format of the checkpoints that a preset is for.

    Raises:
        ExportError: There is no preset of that name.
    """
    name = _known(name)
    if name in torchvision.CONVENTIONS:
        return "torchvision"
    if name in _FAMILIES:
        return _FAMILIES[name]
    if name in _DETECTRON2.named:
        return "detectron2"
    return "caffe2" if name.startswith("caffe2/") else "maskrcnn-benchmark"


def claims(name: str) -> Claims:
    """What a preset says of the network's shapes.

    Raises:
        ExportError: There is no preset of that name.
    """
    name = _known(name)
    if name in torchvision.CLAIMS:
        return torchvision.CLAIMS[name]
    if name in _FAMILIES:
        return _FAMILY_CLAIMS
    framework = _FRAMEWORKS[framework_of(preset_format(name))]
    return framework.claims(framework.config(name, framework.named[name]))


def config_conventions(path: Path, format: Format, kind: Kind) -> Conventions:
    """Conventions from the framework's own configuration file.

    Args:
        path: A ``.yaml`` of maskrcnn-benchmark or Detectron2; its ``_BASE_`` may be a file beside it or one of
            Detectron2's own.
        format: The framework.
        kind: The network that the checkpoint holds.

    Raises:
        ExportError: The file cannot be read, is of another kind, or means a network that is not supported.
    """
    framework = _framework_of(path, format)
    config = _read_config(path, framework)
    _check_kind(config.name, framework.kind(config), kind)
    return framework.conventions(config)


def config_claims(path: Path, format: Format) -> Claims:
    """What a configuration file says of the network's shapes.

    Raises:
        ExportError: The file cannot be read, or means a network that is not supported.
    """
    framework = _framework_of(path, format)
    return framework.claims(_read_config(path, framework))


def _framework_of(path: Path, format: Format) -> _Framework:
    if path.suffix == ".py":
        raise ExportError(f"config {path} is Python code, which is not run; give a .yaml, a --preset or single options")
    if framework_of(format) not in _FRAMEWORKS:
        raise ExportError(f"{format} has no configuration files; leave {path} out, give a --preset or single options")
    return _FRAMEWORKS[framework_of(format)]


def _read_config(path: Path, framework: _Framework) -> Config:
    return framework.config(f"config {path}", read_yaml(path, lambda base: _built_in_base(base, framework)))


def _built_in_base(base: str, framework: _Framework) -> Values | None:
    if framework is _DETECTRON2 and Path(base).name in BASE_FILES:
        return framework.family(BASE_FILES[Path(base).name])
    path = "/" + plain_name(Path(base).as_posix())
    by_folder = [values for name, values in framework.named.items() if path.endswith(f"/{name}")]
    by_name = [values for name, values in framework.named.items() if Path(name).name == Path(path).name]
    # One file name stands in several folders there: without its folder it must mean the same in all.
    fitting = by_folder or by_name
    return fitting[0] if fitting and all(values == fitting[0] for values in fitting) else None


def _check_kind(name: str, has: Kind, kind: Kind) -> None:
    if has != kind:
        raise ExportError(f"{name} is for a network of the kind {has}, but the checkpoint holds one of the kind {kind}")


def _known(name: str) -> str:
    plain = plain_name(name)
    if plain in PRESETS:
        return plain
    for pattern, reason in _REFUSED:
        if fnmatchcase(plain.lower(), pattern):
            raise ExportError(f"preset {name!r} is not supported: {reason}; only Mask R-CNN and Faster R-CNN are")
    near = [other for other in PRESETS if Path(other).name == plain] or get_close_matches(plain, PRESETS, n=3)
    known = (
        f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(_OF_OUR_OWN)} and the frameworks' own"
    )
    raise ExportError(f"preset {name!r} is not known; {known}")


def plain_name(name: str) -> str:
    """The name of a framework's config without its extension."""
    for extension in (".yaml", ".yml", ".py"):
        name = name.removesuffix(extension)
    return name
