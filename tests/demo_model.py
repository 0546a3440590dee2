"""The demo model, exported as an archive would carry it, but without the archive and its proof."""

from pathlib import Path

from export import trace
from export.checkpoint import load_checkpoint
from export.class_names import fitting_class_names
from export.model import MaskRCNN
from export.presets import preset
from export.weights import import_torchvision
from handler.detector import MODEL_FILE
from handler.model_card import FILE_NAME, ModelCard

DEMO = Path(__file__).parent.parent / "demo"


def eager_demo_model() -> MaskRCNN:
    """The network of ``demo/shapes.pth``, not traced."""
    return MaskRCNN(*import_torchvision(load_checkpoint(DEMO / "shapes.pth").tensors), preset("demo"))


def export_demo_model(folder: Path) -> Path:
    """Write the trace and the model card of ``demo/shapes.pth``; returns the folder."""
    conventions, model = preset("demo"), eager_demo_model()
    trace.save(trace.trace(model), folder / MODEL_FILE)
    names = fitting_class_names(conventions.class_names, len(model.mask_head.logit_bias))
    card = ModelCard(names, conventions.preprocessing, conventions.postprocessing())
    (folder / FILE_NAME).write_text(card.to_json())
    return folder
