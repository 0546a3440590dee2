"""The exported model, from pictures to detections. Needs no server: any program may load an archive's folder."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from handler.canvas import Pass, Size, canvas_size, plan_passes, resized_size
from handler.compiled import settings_for
from handler.detections import Detections
from handler.device import CPU, use_device
from handler.errors import not_explained
from handler.explanations import Explanations
from handler.gpu.lane import CudaLane
from handler.lane import Lane
from handler.loading import load_model
from handler.metrics import Observe, ignore
from handler.model_card import FILE_NAME, ModelCard
from handler.network import Network
from handler.selection import Selection, default_selection
from handler.settings import Settings
from handler.steps import Prepared, Segmented, Steps


class Detector:
    """Finds and segments the instances of pictures.

    Attributes:
        card: What was fixed at export.
        settings: What this deployment chose.
        device: Where it computes.
        lane: How it uses that device.
        selection: What is answered of a picture of which nothing else is said.

    Raises:
        ValueError: The settings do not fit the card.
    """

    def __init__(self, card: ModelCard, settings: Settings, device: torch.device, network: Network, lane: Lane) -> None:
        """Take the parts; callers want ``Detector.load``."""
        self.card, self.settings, self.device, self.lane = card, settings, device, lane
        self.selection = default_selection(card, settings)
        self._steps = Steps(network, lane)

    @classmethod
    def load(cls, folder: Path, settings: Settings | None = None, device: torch.device = CPU) -> "Detector":
        """Load the model of an unpacked archive and warm it up.

        Args:
            folder: Holds ``model.pt`` or ``model.pt2``, and ``model_card.json``.
            settings: Choices of the deployment; None: the defaults, of a compiled model in its own dtype.
            device: Where it computes; a GPU becomes the process's own. Of the process, PyTorch's executor of traces is
                the simple one from then on, and a GPU's switches are as the settings say.

        Raises:
            ValueError: The card is of another version, the settings do not fit it, or the weights are damaged.
            DeviceError: The device does not compute in the dtype of the settings, or the model is compiled for another.
        """
        card = ModelCard.load(folder / FILE_NAME)
        settings = settings_for(card.compiled, settings) if card.compiled else settings or Settings()
        use_device(device, settings)
        network = Network(load_model(folder, card, settings, device), card, settings)
        lane = Lane(network) if device.type == "cpu" else CudaLane(network, settings, device)
        detector = cls(card, settings, device, network, lane)
        detector.warm_up()
        return detector

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Compute blank pictures, so that whatever happens once has happened before the first request.

        They have the sizes of the settings, or are one square of the size that the network wants; of the batches and
        counts of masks that this device works with.
        """
        side = self.card.preprocessing.min_size
        sizes = sorted(self.settings.warm_up_sizes or ((side, side),), key=self._canvas_pixels, reverse=True)
        with self.lane.current():
            for batch, rows in self.lane.warm_up_plan(self.card.postprocessing.max_detections):
                for height, width in sizes:
                    self._compute_blank(batch, height, width, rows)

    def _compute_blank(self, batch: int, height: int, width: int, rows: Sequence[int]) -> None:
        """Compute a pass of blank pictures, and the masks of its first rows, so many at a time."""
        images = [torch.zeros(height, width, 3, dtype=torch.uint8)] * batch
        (whole,) = plan_passes([self._canvas((height, width))] * batch, batch)
        sizes = [(height, width)] * batch
        (prepared,) = self._prepared(images, sizes, [self.selection] * batch, [whole], ignore)
        started = self._steps.start(prepared, ignore, expected=True)
        numbers = torch.arange(started.found.valid.numel()).reshape(started.found.valid.shape)
        for count in rows:
            self._steps.finish(self._steps.segment(started, ignore, numbers < count), ignore)

    @torch.inference_mode()
    def detect(
        self,
        images: Sequence[Tensor],
        observe: Observe = ignore,
        image_sizes: Sequence[Size] | None = None,
        selections: Sequence[Selection] | None = None,
    ) -> list[Detections]:
        """Find the instances of each picture; its answer does not depend on the other pictures.

        Args:
            images: (H, W, 3) uint8 each, RGB, of any sizes, on the CPU.
            observe: Takes the metrics of each pass.
            image_sizes: Height and width that each answer is in, where a picture was shrunk as it was decoded; None:
                the pictures' own.
            selections: What is answered of each; None: what the settings say.

        Returns:
            One per picture, in the order of the pictures.
        """
        answered_in = image_sizes or [(image.shape[0], image.shape[1]) for image in images]
        selected = selections or [self.selection] * len(images)
        passes = self._passes(answered_in)
        computed = self._in_turn(self._prepared(images, answered_in, selected, passes, observe), observe)
        found: dict[int, Detections] = {}
        with self.lane.current():
            for each, answers in zip(passes, computed, strict=True):
                found |= zip(each.indices, answers, strict=True)
        return [found[index] for index in range(len(images))]

    @torch.inference_mode()
    def explain(
        self,
        image: Tensor,
        observe: Observe = ignore,
        image_size: Size | None = None,
        selection: Selection | None = None,
    ) -> Explanations:
        """Find the instances of one picture, as ``detect`` does, and what each was found by.

        Args:
            image: (H, W, 3) uint8, RGB, on the CPU.
            observe: Takes the metrics.
            image_size: As in ``detect``.
            selection: As in ``detect``.

        Raises:
            RequestError: The archive is of a version that could not explain.
        """
        if not self._steps.explains:
            raise not_explained()
        size = image_size or (image.shape[0], image.shape[1])
        alone = [Pass(self._canvas(size), (0,))]
        with self.lane.current():
            (prepared,) = self._prepared([image], [size], [selection or self.selection], alone, observe)
            return self._steps.explain(prepared, observe)

    def free_memory(self) -> None:
        """Give back what is only there to be faster, after memory ran out."""
        self.lane.free_memory()

    def _passes(self, image_sizes: Sequence[Size]) -> list[Pass]:
        planned = plan_passes([self._canvas(size) for size in image_sizes], self.settings.max_pass_size)
        return [part for each in planned for part in each.cut(self.lane.parts(len(each.indices)))]

    def _canvas_pixels(self, image_size: Size) -> int:
        return math.prod(self._canvas(image_size))

    def _canvas(self, image_size: Size) -> Size:
        preprocessing = self.card.preprocessing
        return canvas_size(*resized_size(*image_size, preprocessing), preprocessing)

    def _prepared(
        self,
        images: Sequence[Tensor],
        image_sizes: Sequence[Size],
        selections: Sequence[Selection],
        passes: Sequence[Pass],
        observe: Observe,
    ) -> Iterator[Prepared]:
        """Prepare one pass after the other, each when it is asked for."""
        for each in passes:
            observe("maskrcnn_pass_size", len(each.indices))
            chosen = [images[index] for index in each.indices]
            sizes = [image_sizes[index] for index in each.indices]
            resized = [resized_size(*size, self.card.preprocessing) for size in sizes]
            wanted = [selections[index] for index in each.indices]
            yield self._steps.prepare(each.canvas, chosen, resized, sizes, wanted, observe)

    def _in_turn(self, prepared: Iterator[Prepared], observe: Observe) -> Iterator[list[Detections]]:
        """Compute passes so that a GPU has work while the host packs, waits or reads.

        While it finds the boxes of one pass, the host sends the pictures of the next and reads the masks of the one
        before. What a pass found is used up (``segment``) before the next one starts, which may overwrite it.
        """
        following = next(prepared, None)
        before: Segmented | None = None
        while following is not None:
            started = self._steps.start(following, observe)
            following = next(prepared, None)
            if before is not None:
                yield self._steps.finish(before, observe)
            before = self._steps.segment(started, observe)
            del started  # or its levels would still take memory while the next pass makes its own
        if before is not None:
            yield self._steps.finish(before, observe)
