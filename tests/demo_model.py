"""The demo model, exported as an archive would carry it, but without the archive and its proof."""

from pathlib import Path

from export import trace
from export.checkpoint import load_checkpoint
from export.class_names import fitting_class_names
from export.model import MaskRCNN
from export.network.weights import Imported, import_weights
from export.presets import preset
from handler.loading import MODEL_FILE
from handler.model_card import FILE_NAME, ModelCard

DEMO = Path(__file__).parent.parent / "demo"


def eager_demo_model() -> MaskRCNN:
    """The network of ``demo/shapes.pth``, not traced."""
    demo = demo_weights()
    return MaskRCNN(demo.weights, demo.architecture, preset("demo", "fpn"))


def demo_weights() -> Imported:
    """The weights of ``demo/shapes.pth``."""
    return import_weights(load_checkpoint(DEMO / "shapes.pth").tensors)


def export_demo_model(folder: Path) -> Path:
    """Write the trace and the model card of ``demo/shapes.pth``; returns the folder."""
    conventions, model = preset("demo", "fpn"), eager_demo_model()
    trace.save(trace.trace(model), folder / MODEL_FILE)
    names = fitting_class_names(conventions.class_names, 5, background_first=True)
    card = ModelCard(names, conventions.preprocessing, conventions.postprocessing())
    (folder / FILE_NAME).write_text(card.to_json())
    return folder
