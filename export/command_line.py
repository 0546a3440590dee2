"""The command line of the export, and its manual."""

import argparse
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from export.choices import Choices
from export.class_names import class_list_names
from export.closing import closing
from export.compile import Runtime
from export.download import resolve
from export.errors import ExportError
from export.failures import ended_by_sigterm
from export.inspection import inspect
from export.kinds import Format
from export.limits import LONGEST_SIDE, MOST, MOST_DETECTIONS, MOST_PIXELS
from export.option_values import at_least_zero, count, levels, numbers, share
from export.pipeline import Export, run
from export.serving import Device, Serving
from handler.gpu.settings import DTYPES

MANUAL = """\
Turn a trained Mask R-CNN checkpoint into one self-contained .mar for TorchServe.

The checkpoint is one of torchvision, Detectron2, maskrcnn-benchmark or the Caffe2 Detectron, a file or the name of a
published one. Its keys tell the framework and its shapes the architecture. What they cannot tell, a preset does, or the
framework's own config; every number of a preset can be overridden below. Nothing is written unless the exported
model answers like the original in a fresh process, on sizes and batches it was not made with.

`python -m export inspect FILE` says what a checkpoint is, what was inferred and what must be given; it writes nothing.
`python` is that of the folder where `make setup` installed everything: have .venv/bin on the PATH, or type
.venv/bin/python.
"""

PRESETS_HELP = """\
presets (without one: the first of the checkpoint's framework):
  torchvision                  a training of your own with torchvision's defaults (norm eps 1e-5)
  torchvision-coco-v1, -v2     the published weights (v1: norm eps 0), 91 COCO names; v1 for those trained on from, too
  detectron2                   Detectron2's defaults for the FPN, C4 or DC5 that the keys show
  maskrcnn-benchmark           its defaults, suppressing as on a GPU (IoU above the threshold)
  maskrcnn-benchmark-cpu       the same as on a CPU (at or above it)
  demo                         demo/shapes.pth (pictures of 240-400 pixels, 5 names)
  and every Mask and Faster R-CNN config by its own name: COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x,
  LVISv1-InstanceSegmentation/mask_rcnn_R_50_FPN_1x, e2e_mask_rcnn_R_50_FPN_1x, gn_baselines/..., caffe2/...

examples:
  python -m export demo/shapes.pth --preset demo --name shapes
  python -m export coco --name coco
  python -m export runs/7/model_25.pth --name cells --labels cells.txt --score-threshold 0.3 --max-detections 300
  python -m export model_final_f10217.pkl --preset COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x --name coco
  python -m export output/model_final.pth --config output/config.yaml --labels names.txt --name mine
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Returns:
        0; 2 with one message where something of the user's does not fit; 130 where Ctrl-C ended it.

    Raises:
        SystemExit: SIGTERM ended it.
    """
    warnings.filterwarnings("ignore", message="`torch.jit")
    inspecting = arguments[:1] == ["inspect"]
    options = parser().parse_args(arguments[1:] if inspecting else arguments)
    try:
        with ended_by_sigterm():
            _inspect(options, arguments[1:]) if inspecting else _export(options)
    except (ExportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _inspect(options: argparse.Namespace, arguments: Sequence[str]) -> None:
    found = resolve(options.checkpoint)
    inspection = inspect(found.path, choices_of(options, found.preset), arguments)
    print(inspection.text, flush=True)  # before the error, wherever both go
    if inspection.wrong:
        raise inspection.wrong


def _export(options: argparse.Namespace) -> None:
    asked = export_of(options)
    path, proof = run(asked)
    print(closing(asked.name, path, proof))


def parser() -> argparse.ArgumentParser:
    """Every option with its meaning."""
    made = argparse.ArgumentParser(
        "python -m export",
        description=MANUAL,
        epilog=PRESETS_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_choices(made)
    made.add_argument("--name", help="name of the model in the URL and of the file (default: that of the checkpoint)")
    made.add_argument("--version", help="of the model; the file is then NAME-VERSION.mar (default: 1.0 in NAME.mar)")
    made.add_argument("--out", type=Path, default=Path("model_store"), help="folder of the .mar (default: model_store)")
    made.add_argument(
        "--prove",
        type=Path,
        nargs="*",
        metavar="PICTURE",
        help="also run the framework itself (torchvision or detectron2 must be importable) on these pictures, or on "
        "drawn scenes, and refuse an export that answers otherwise",
    )
    made.add_argument(
        "--runtime",
        choices=get_args(Runtime),
        default="trace",
        help="what runs the model: TorchScript, on any processor and GPU (trace), or AOTInductor, compiled for the "
        "device and the dtype named below, this kind of processor and this PyTorch, which takes a C++ compiler and a "
        "minute or more (aoti; default: trace)",
    )
    _add_network_options(made.add_argument_group("as in training; the preset's value if left out"))
    _add_answer_options(made.add_argument_group("answers; the preset's value if left out"))
    _add_serving_options(made.add_argument_group("serving; may be changed later in model-config.yaml"))
    return made


def _add_choices(made: argparse.ArgumentParser) -> None:
    made.add_argument("checkpoint", help="the trained weights (.pth, .pt or .pkl), or the name of published ones")
    made.add_argument("--format", choices=get_args(Format), help="whose names the weights have (default: recognised)")
    made.add_argument("--preset", metavar="NAME", help="how it was trained (default: by the format)")
    made.add_argument("--config", type=Path, metavar="YAML", help="the same, from the framework's own config")
    made.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="class names: one a line, or JSON; or one of the lists " + ", ".join(class_list_names()),
    )


def _add_network_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--norm-eps", type=at_least_zero, metavar="EPS", help="added to the variance of every norm")
    group.add_argument(
        "--min-size", type=count(LONGEST_SIDE), metavar="PIXELS", help="shorter side of a resized picture"
    )
    group.add_argument("--max-size", type=count(LONGEST_SIDE), metavar="PIXELS", help="limit of its longer side")
    group.add_argument(
        "--anchor-sizes", type=levels, metavar="A,B,...", help="side of the anchors of each level, A/B/... for several"
    )
    group.add_argument("--anchor-ratios", type=numbers, metavar="A,B,...", help="their heights over widths")


def _add_answer_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--score-threshold", type=share, metavar="SCORE", help="drop detections at or below it")
    group.add_argument("--max-detections", type=count(MOST_DETECTIONS), metavar="N", help="most detections per picture")
    group.add_argument("--nms-threshold", type=share, metavar="IOU", help="drop the lesser of two boxes above it")
    group.add_argument("--pre-nms-top-n", type=count(MOST), metavar="N", help="anchors per level that are considered")
    group.add_argument(
        "--post-nms-top-n", type=count(MOST), metavar="N", help="proposals per picture: fewer are faster"
    )


def _add_serving_options(group: argparse._ArgumentGroup) -> None:
    default = Serving()
    for flag, value, most, meaning in (
        ("--batch-size", default.batch_size, MOST, "most requests in one batch"),
        ("--max-batch-delay", default.max_batch_delay, MOST, "milliseconds to wait for them"),
        ("--workers", default.workers, MOST, "worker processes"),
        ("--response-timeout", default.response_timeout, MOST, "seconds until a silent worker is killed"),
        ("--startup-timeout", default.startup_timeout, MOST, "seconds until a worker must have loaded"),
        ("--max-pixels", default.max_pixels, MOST_PIXELS, "refuse larger pictures"),
    ):
        group.add_argument(flag, type=count(most), default=value, metavar="N", help=f"{meaning} (default: {value})")
    group.add_argument(
        "--device",
        choices=get_args(Device),
        default=default.device,
        help="where to serve; auto: on a GPU where there is one, if CUDA kernels were built, else on the CPU "
        f"(default: {default.device})",
    )
    group.add_argument(
        "--dtype", choices=DTYPES, default=default.dtype, help=f"what to compute in (default: {default.dtype})"
    )


def export_of(options: argparse.Namespace) -> Export:
    """What the options ask for.

    Raises:
        ExportError: They contradict each other, or the class names cannot be read.
    """
    serving = Serving(
        options.batch_size,
        options.max_batch_delay,
        options.workers,
        options.response_timeout,
        options.startup_timeout,
        options.max_pixels,
        options.device,
        options.dtype,
    )
    if options.runtime == "aoti" and serving.device == "auto":
        serving = replace(serving, device="cpu")  # a package runs where it was compiled for
    serving.device_type()  # refuses what cannot be served before the minutes of an export
    found = resolve(options.checkpoint)
    choices = choices_of(options, found.preset)
    name = options.name or (found.published.rpartition("/")[2] if found.published else found.path.stem)
    prove = None if options.prove is None else tuple(options.prove)
    return Export(found.path, name, choices, serving, options.out, prove, options.version, options.runtime)


def choices_of(options: argparse.Namespace, preset: str | None = None) -> Choices:
    """What the options say about the checkpoint.

    Args:
        options: Parsed.
        preset: That of a published checkpoint, where the options name neither a preset nor a config.
    """
    return Choices(
        format=options.format,
        preset=options.preset or (None if options.config else preset),
        config=options.config,
        labels=options.labels,
        changes={
            "body": {"norm_eps": options.norm_eps},
            "preprocessing": {"min_size": options.min_size, "max_size": options.max_size},
            "proposals": {
                "anchor_sizes": options.anchor_sizes,
                "anchor_ratios": options.anchor_ratios,
                "pre_nms_top_n": options.pre_nms_top_n,
                "post_nms_top_n": options.post_nms_top_n,
            },
            "detections": {
                "score_threshold": options.score_threshold,
                "max_detections": options.max_detections,
                "nms_threshold": options.nms_threshold,
            },
        },
    )
