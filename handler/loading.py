"""The saved model, made ready for a device: of a trace, weights moved, cast and laid out; then frozen, fused as set."""

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

import ops  # noqa: F401 - first: a trace that names ops which are not registered does not load
from handler.compiled import PACKAGE_FILE, CompiledModel, check_fits
from handler.convolutions import obey_switches
from handler.device import torch_dtype
from handler.gpu.fusion import fuse, works_joined
from handler.gpu.settings import Fusion
from handler.intact import check_intact
from handler.model_card import ModelCard
from handler.onednn import join_layers
from handler.settings import Settings

logger = logging.getLogger(__name__)

MODEL_FILE = "model.pt"
METHODS = ("detect", "segment", "explain")  # an archive of an older version has no ``explain``


def load_model(
    folder: Path, card: ModelCard, settings: Settings, device: torch.device
) -> torch.jit.ScriptModule | CompiledModel:
    """Load the model of an unpacked archive, which its card says to be a trace or compiled.

    Args:
        folder: Holds the file.
        card: The model card.
        settings: Those that fit the card.
        device: Where it will run.

    Raises:
        ValueError: The file is damaged.
        DeviceError: It was compiled for something else.
    """
    if card.compiled is None:
        check_intact(folder / MODEL_FILE)
        return load_trace(folder / MODEL_FILE, settings, device)
    check_fits(card.compiled, device)
    check_intact(folder / PACKAGE_FILE)
    return CompiledModel(folder / PACKAGE_FILE, device, card.postprocessing.masks)


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
    if device.type == "cuda":
        prepare_for_cudnn(model, wanted)
    elif wanted == "optimized":
        prepare_for_onednn(model)
    return model


def fusion_of(settings: Settings, device: torch.device) -> Fusion:
    """The fusion of the settings, ``auto`` resolved."""
    return settings.fusion or ("optimized" if device.type == "cpu" else "frozen")


def _methods(model: torch.jit.ScriptModule) -> list[str]:
    return [name for name in METHODS if hasattr(model, name)]


def _frozen(model: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`torch.jit")  # TorchScript is deprecated as a whole
        frozen: torch.jit.ScriptModule = torch.jit.freeze(model, preserved_attrs=_methods(model))
        return frozen


def prepare_for_cudnn(model: torch.jit.ScriptModule, wanted: Fusion) -> None:
    """Let convolutions obey this process, and join them with what follows them where that is wanted."""
    for name, graph in _graphs(model):
        found = obey_switches(graph)
        joined = fuse(graph, works_joined) if wanted == "optimized" else 0
        logger.info("%s: %d of %d convolutions joined with what follows them", name, joined, found)


def prepare_for_onednn(model: torch.jit.ScriptModule) -> None:
    """Join the layers of a frozen model with what follows them, for the CPU."""
    for name, graph in _graphs(model):
        obey_switches(graph)
        logger.info("%s: %d layers as oneDNN computes them", name, join_layers(graph))


def _graphs(model: torch.jit.ScriptModule) -> Iterator[tuple[str, torch.Graph]]:
    """Every method with its graph, inlined."""
    for name in ("forward", *_methods(model)):
        graph = getattr(model, name).graph
        torch._C._jit_pass_inline(graph)
        yield name, graph
