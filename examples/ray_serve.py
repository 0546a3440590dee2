"""An archive behind Ray Serve: ``serve run examples.ray_serve:app archive=model_store/demo.mar replicas=2``."""

from http import HTTPStatus
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from ray import get_gpu_ids, serve
from starlette.requests import Request
from starlette.responses import Response

from examples.archives import WorkerThread
from examples.torchserve_http import received


class Arguments(BaseModel, extra="forbid"):
    """What stands after ``app``: from ``least`` to ``replicas`` as requests come; the rest is of each."""

    archive: Path
    name: str = ""  # the file's
    least: int = 1
    replicas: int = 1
    threads: int = 1
    batch: int = 4
    gpus: float = 0


@serve.deployment(max_queued_requests=64, health_check_period_s=2)  # what comes when so many wait gets 503
class Detect:
    """One replica; what came while it computed is its next batch."""

    def __init__(self, archive: str, name: str, threads: int, batch: int) -> None:
        self._worker = WorkerThread(archive, name, threads, batch, 0 if get_gpu_ids() else None)
        self._answer.set_max_batch_size(batch)

    async def __call__(self, request: Request) -> Response:
        """Answer one request, whatever else is in its batch."""
        asked = await received(request, self._worker)
        if isinstance(asked, HTTPStatus):
            return Response(status_code=asked)
        reply = await self._answer(asked)
        return Response(reply.body, reply.status, {"Content-Type": reply.media_type, **reply.headers})

    @serve.batch(batch_wait_timeout_s=0)
    async def _answer(self, requests: list[Any]) -> list[Any]:
        return await self._worker.answer(requests)

    def check_health(self) -> None:
        """Raise where the device failed, so that Ray starts another replica."""
        self._worker.check()


def app(given: Arguments) -> serve.Application:
    """What ``serve run`` starts."""
    scaling = {"min_replicas": given.least, "max_replicas": given.replicas, "target_ongoing_requests": given.batch}
    scaling["upscale_delay_s"] = 5  # of more requests than that; Ray's own 30 s are for those that load for longer
    share = {"num_cpus": given.threads, "num_gpus": given.gpus}
    made = Detect.options(autoscaling_config=scaling, ray_actor_options=share, max_ongoing_requests=2 * given.batch)
    return made.bind(str(given.archive.resolve()), given.name or given.archive.stem, given.threads, given.batch)
