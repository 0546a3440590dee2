"""The saved trace, made ready for a device: weights moved, cast and laid out; then frozen and fused as set."""

import logging
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F

import ops  # noqa: F401 - first: a trace that names ops which are not registered does not load
from handler.device import torch_dtype
from handler.failures import first_line
from handler.gpu.fusion import Convolution, fuse, obey_switches
from handler.gpu.settings import Fusion
from handler.settings import Settings

logger = logging.getLogger(__name__)

METHODS = ("detect", "segment", "explain")  # an archive of an older version has no ``explain``


def load_trace(path: Path, settings: Settings, device: torch.device) -> torch.jit.ScriptModule:
    """Load a trace.

    Args:
        path: As ``export`` saved it: float32, not frozen.
        settings: Name the dtype and the fusion.
        device: Where it will run.
    """
    loaded = torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call]
    model: torch.jit.ScriptModule = loaded.to(dtype=torch_dtype(settings), memory_format=torch.channels_last)
    wanted = fusion_of(settings, device)
    if wanted != "none":
        model = _frozen(model)
    if device.type == "cuda" or wanted == "optimized":
        _prepare_convolutions(model, wanted)
    return model


def fusion_of(settings: Settings, device: torch.device) -> Fusion:
    """The fusion of the settings, ``auto`` resolved."""
    return settings.fusion or ("none" if device.type == "cpu" else "frozen")


def _methods(model: torch.jit.ScriptModule) -> list[str]:
    return [name for name in METHODS if hasattr(model, name)]


def _frozen(model: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript is deprecated as a whole
        frozen: torch.jit.ScriptModule = torch.jit.freeze(model, preserved_attrs=_methods(model))
        return frozen


def _prepare_convolutions(model: torch.jit.ScriptModule, wanted: Fusion) -> None:
    for name in ("forward", *_methods(model)):
        graph = getattr(model, name).graph
        torch._C._jit_pass_inline(graph)
        found = obey_switches(graph)
        joined = fuse(graph, works_joined) if wanted == "optimized" else 0
        logger.info("%s: %d of %d convolutions joined with what follows them", name, joined, found)


def works_joined(conv: Convolution, adds: bool) -> bool:
    """Try a joined convolution on a small map: not every cuDNN has it for every GPU, dtype and number of channels.

    float32 stays apart, because it promises the numbers of the plain layers. So does the CPU.
    """
    weight, bias, places = conv.weight, conv.bias, (conv.stride, conv.padding, conv.dilation, conv.groups)
    if weight.device.type != "cuda" or weight.dtype not in (torch.float16, torch.bfloat16):
        return False
    images = torch.linspace(-1, 1, 32 * 32, dtype=weight.dtype, device=weight.device).reshape(1, 1, 32, 32)
    images = images.repeat(1, weight.shape[1] * conv.groups, 1, 1).contiguous(memory_format=torch.channels_last)
    plain = F.conv2d(images, weight, bias, *places)
    try:
        if adds:
            joined = torch.cudnn_convolution_add_relu(images, weight, plain, 1.0, bias, *places)
        else:
            joined = torch.cudnn_convolution_relu(images, weight, bias, *places)
    except RuntimeError as error:
        logger.info("a convolution %s stays apart: %s", tuple(weight.shape), first_line(error))
        return False
    expected = F.relu(plain + plain) if adds else F.relu(plain)
    return torch.allclose(joined, expected, rtol=2e-2, atol=2e-2 * float(expected.abs().max()))
