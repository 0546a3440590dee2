"""The ``model-config.yaml`` of an archive: what an operator may change without exporting again."""

from dataclasses import dataclass

import yaml

from handler.settings import Settings


@dataclass(frozen=True)
class Serving:
    """TorchServe's options of one model and the handler's.

    Attributes:
        batch_size: Most requests that TorchServe gathers for one call.
        max_batch_delay: How long it waits for them, in milliseconds; a lone request always pays it.
        workers: Worker processes, each with its own copy of the model.
        response_timeout: Seconds until TorchServe kills a worker that has not answered.
        startup_timeout: Seconds until it gives up on a worker that has not loaded.
        max_pixels: Pictures with more pixels are refused.
    """

    batch_size: int = 4
    max_batch_delay: int = 10
    workers: int = 1
    response_timeout: int = 120
    startup_timeout: int = 300
    max_pixels: int = Settings.max_pixels

    def to_yaml(self) -> str:
        """The text of the file."""
        options = {
            "batchSize": self.batch_size,
            "maxBatchDelay": self.max_batch_delay,
            "minWorkers": self.workers,
            "maxWorkers": self.workers,
            "responseTimeout": self.response_timeout,
            "startupTimeout": self.startup_timeout,
            "deviceType": "cpu",  # else TorchServe assigns a GPU where there is one: there are no kernels for it
            "detection": {
                "max_pixels": self.max_pixels,
                "threads": "auto",
                "warm_up_sizes": [],
            },
        }
        text: str = yaml.safe_dump(options, sort_keys=False, default_flow_style=None)
        return text
