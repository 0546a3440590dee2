"""An archive behind Ray Serve: ``serve run examples.ray_serve:app archive=model_store/demo.mar name=demo replicas=2``.

Addresses, requests and replies are TorchServe's. Further arguments: ``threads`` and ``batch`` of each replica, ``gpus=1``.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ray import get_gpu_ids, serve
from starlette.requests import Request
from starlette.responses import Response

from examples.archives import Unpacked, answer, worker_of
from examples.torchserve_http import MOST_BYTES, incoming, verb_of


@serve.deployment(max_queued_requests=64, health_check_period_s=2)  # what comes when so many wait gets 503
class Detect:
    """One worker; what came while it computed is its next batch."""

    def __init__(self, archive: str, name: str, threads: int, batch: int) -> None:
        self._thread = ThreadPoolExecutor(1)  # PyTorch keeps a pool of threads for each thread that calls it
        self._archive, self._name, self._broken = Unpacked(archive), name, False
        gpu_id = 0 if get_gpu_ids() else None
        self._worker = self._thread.submit(worker_of, self._archive.path, name, threads, batch, gpu_id).result()
        self._answer.set_max_batch_size(batch)

    async def __call__(self, request: Request) -> Response:
        """Answer one request, whatever else is in its batch."""
        if (verb := verb_of(request.url.path, self._name)) is None:
            return Response(status_code=404)
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_BYTES:
                return Response(status_code=413)
        query = request.query_params if request.url.path == "/invocations" else {}
        reply = await self._answer(incoming(bytes(body), request.headers, query, verb))
        return Response(reply.body, reply.status, {"Content-Type": reply.media_type, **reply.headers})

    @serve.batch(batch_wait_timeout_s=0)
    async def _answer(self, requests: list[Any]) -> list[Any]:
        ran = asyncio.get_running_loop().run_in_executor(self._thread, answer, self._worker, requests)
        replies, self._broken = await ran
        return replies

    def check_health(self) -> None:
        """Raise where the device failed, so that Ray starts another replica."""
        if self._broken:
            raise RuntimeError("the device failed")


def app(args: dict[str, str]) -> serve.Application:
    """What ``serve run`` starts, from the arguments of its command line."""
    archive, threads, batch = Path(args["archive"]).resolve(), int(args.get("threads", 1)), int(args.get("batch", 4))
    scaling = {"min_replicas": int(args.get("least", 1)), "max_replicas": int(args.get("replicas", 1))}
    resources = {"num_cpus": threads, "num_gpus": float(args.get("gpus", 0))}
    deployed = Detect.options(autoscaling_config=scaling | {"target_ongoing_requests": batch}, ray_actor_options=resources, max_ongoing_requests=2 * batch)
    return deployed.bind(str(archive), args.get("name", archive.stem), threads, batch)
