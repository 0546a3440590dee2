"""What becomes of a batch that fails in the worker of a real TorchServe, and of the worker."""

import io
import os
import resource
import signal
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from PIL import Image

from server.torchserve import TorchServe
from tests.reply_schema import error_of
from tests.served import MODEL, PICTURES, metric, wait_for_metric

FAULTY = "faulty"
CUDA_ERROR, BUG, ENDLESS, HUNGRY, HUNGRY_OP = (1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12), (13, 14, 15)
# Added to a module of the archive: pictures of these colours fail as a GPU, a bug or a loop would.
FAULTS = f"""
_detect = Detector.detect

def _fail(self, images, *rest):
    for image in images:
        pixel = tuple(image[0, 0].tolist())
        if pixel == {CUDA_ERROR}:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        if pixel == {BUG}:
            raise KeyError("a bug")
        if pixel == {HUNGRY}:
            torch.empty(1 << 48, dtype=torch.uint8)  # more than a process can address, whatever a kernel promises
        if pixel == {HUNGRY_OP}:
            many = torch.ones(1, 2, 2).expand(10**6, 2, 2), torch.zeros(10**6, 4)
            torch.ops.maskrcnn.paste_masks(*many, 60_000, 60_000)
        while pixel == {ENDLESS}:
            pass
    return _detect(self, images, *rest)

Detector.detect = _fail
"""


def picture(colour: tuple[int, int, int] = (200, 30, 90), width: int = 64, height: int = 48) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def answers(server: TorchServe, model: str, pictures: Sequence[bytes]) -> list[tuple[int, str]]:
    """Status and code of each, all asked at once; no code where it is answered."""
    with ThreadPoolExecutor(len(pictures)) as pool:
        replies = list(pool.map(lambda each: server.predict(model, each), pictures))
    return [
        (status, "" if status == 200 else error_of(body)["code"] if b"hint" in body else body.decode())
        for status, body in replies
    ]


def pid_of(server: TorchServe, model: str) -> int:
    (worker,) = server.workers(model)
    return int(worker["pid"])


@pytest.fixture
def limited(server: TorchServe) -> Iterator[int]:
    """The worker's process, whose limits are lifted again."""
    pid = pid_of(server, MODEL)
    yield pid
    for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        with suppress(ProcessLookupError):
            resource.prlimit(pid, limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def wait_until_gone(pid: int) -> None:
    """That it ends; whoever is gone already, has."""
    try:
        psutil.Process(pid).wait(timeout=60)
    except psutil.NoSuchProcess:
        return


def leave(pid: int, spare: int) -> None:
    """Let a process take so many bytes more than it has."""
    taken = psutil.Process(pid).memory_info().vms
    resource.prlimit(pid, resource.RLIMIT_AS, (taken + spare, resource.RLIM_INFINITY))


def test_a_picture_that_memory_is_too_small_for_is_refused_alone(server: TorchServe, limited: int) -> None:
    # Room for the small ones, however little is free of what the process has; and not for the large one, however much:
    # decoded it takes 4 bytes a pixel. Passes of one and two of the small ones need nothing that is made once a size.
    small, large = PICTURES[2].read_bytes(), picture(width=7000, height=7000)
    for together in (1, 1, 2, 2, 2, 3, 4):
        assert answers(server, MODEL, [small] * together) == [(200, "")] * together
    leave(limited, 120 << 20)
    assert answers(server, MODEL, [small, large, small]) == [(200, ""), (503, "out_of_memory"), (200, "")]
    assert server.predict(MODEL, small)[0] == 200
    assert pid_of(server, MODEL) == limited


def test_a_worker_without_memory_answers_again_when_there_is_some(server: TorchServe, limited: int) -> None:
    # Refused as they are decoded: what cannot even set a layer up leaves, and another worker answers. Larger than what
    # the allocator may have kept of the test before.
    large = [picture(width=7000, height=7000), picture(width=7000, height=6900)]
    resource.prlimit(limited, resource.RLIMIT_DATA, (1 << 20, resource.RLIM_INFINITY))
    assert answers(server, MODEL, large) == [(503, "out_of_memory")] * 2
    resource.prlimit(limited, resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert answers(server, MODEL, large) == [(200, "")] * 2
    assert pid_of(server, MODEL) == limited


@pytest.fixture(scope="module")
def faulty(archive: Path, server: TorchServe) -> Iterator[str]:
    """The demo model as another one, whose batches can be made to fail; its workers are given up after 15 seconds."""
    target = archive.with_name(f"{FAULTY}.mar")
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w") as made:
        for name in source.namelist():
            content = source.read(name)
            if name == "handler/detector.py":
                content += FAULTS.encode()
            made.writestr(name, content.replace(b"responseTimeout: 120", b"responseTimeout: 15"))
    query = f"url={FAULTY}.mar&model_name={FAULTY}&initial_workers=1&synchronous=true"
    assert server.request("management", f"/models?{query}", b"")[0] == 200
    try:
        server.wait_until_ready(FAULTY)
        yield FAULTY
    finally:
        server.request("management", f"/models/{FAULTY}", method="DELETE")
        target.unlink()


@pytest.mark.slow
def test_a_bug_is_the_error_of_one_request(server: TorchServe, faulty: str) -> None:
    pid = pid_of(server, faulty)
    for _ in range(3):
        told = answers(server, faulty, [picture(), picture(BUG), picture(), picture()])
        assert told == [(200, ""), (500, "internal_error"), (200, ""), (200, "")]
    assert pid_of(server, faulty) == pid


@pytest.mark.slow
@pytest.mark.parametrize("hungry", [HUNGRY, HUNGRY_OP], ids=["PyTorch", "op"])
def test_a_network_that_runs_out_of_memory_refuses_one_picture(
    server: TorchServe, faulty: str, hungry: tuple[int, int, int]
) -> None:
    pid, splits = pid_of(server, faulty), metric(server, "maskrcnn_splits_total")
    told = answers(server, faulty, [picture(), picture(hungry), picture(), picture()])
    assert told == [(200, ""), (503, "out_of_memory"), (200, ""), (200, "")]
    wait_for_metric(server, "maskrcnn_splits_total", above=splits)
    assert pid_of(server, faulty) == pid


@pytest.mark.slow
def test_after_a_cuda_error_the_worker_is_replaced(server: TorchServe, faulty: str) -> None:
    pid = pid_of(server, faulty)
    assert answers(server, faulty, [picture(CUDA_ERROR)]) == [(503, "device_failed")]
    wait_until_gone(pid)
    assert answers(server, faulty, [picture()]) == [(200, "")]
    assert pid_of(server, faulty) != pid
    assert server.predict(MODEL, picture())[0] == 200


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [False, True])
def test_a_worker_that_is_stuck_is_replaced(server: TorchServe, faulty: str, stopped: bool) -> None:
    pid = pid_of(server, faulty)
    if stopped:  # not even a signal that it may catch reaches it
        os.kill(pid, signal.SIGSTOP)
    status, body = server.predict(faulty, picture() if stopped else picture(ENDLESS))
    assert (status, b"Worker died" in body) == (500, True)
    assert server.predict(faulty, picture())[0] == 200
    assert pid_of(server, faulty) != pid
    wait_until_gone(pid)
