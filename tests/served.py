"""What the tests against a real TorchServe share: the exported demo model and a server of their own."""

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.reply_schema import parsed

if TYPE_CHECKING:
    from server.torchserve import TorchServe

ROOT = Path(__file__).parent.parent
PICTURES = sorted((ROOT / "demo" / "pictures").glob("*.jpg"))
MODEL = "demo"


def export_demo(store: Path, *options: str) -> Path:
    """Export the demo model with the command that the README shows, and more options; the archive."""
    command = [sys.executable, "-m", "export", ROOT / "demo/shapes.pth", "--preset", "demo", "--name", MODEL]
    subprocess.run([*command, "--out", store, *options], cwd=ROOT, check=True)
    return store / f"{MODEL}.mar"


def detections(server: "TorchServe", picture: bytes, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """The parsed answer to a picture that must be answered."""
    status, body = server.predict(MODEL, picture, headers)
    assert status == 200, body
    answer: dict[str, Any] = parsed(body)
    return answer


def metric(server: "TorchServe", name: str) -> float:
    """Sum of one sample over all workers, as Prometheus reads it."""
    lines = re.findall(rf"(?m)^{name}(?:\{{.*\}})? (\S+)$", server.metrics())
    return sum(map(float, lines))


def wait_for_metric(server: "TorchServe", name: str, above: float, seconds: float = 60) -> None:
    """Until a sample is above a value: what a worker counts gets to Prometheus through a log, after the answer."""
    end = time.monotonic() + seconds
    while (value := metric(server, name)) <= above:
        assert time.monotonic() < end, f"{name} is still {value} after {seconds} s, not above {above}"
        time.sleep(0.1)
