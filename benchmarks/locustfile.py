"""For users of Locust (``pip install locust``; nothing else here needs it): the demo's pictures at a running server.

    make serve
    locust -f benchmarks/locustfile.py --headless --users 8 --run-time 1m

Users ask as fast as they are answered, which is a closed loop: read the requests a second from it, and latency from
``python -m benchmarks.served``, whose requests come at fixed moments. ``MODEL=name`` and ``PICTURES=folder`` choose
others; ``--host`` another server than the one that ``make serve`` started, with its token in ``TOKEN``.
"""

import json
import os
import random
from pathlib import Path

from locust import HttpUser, task

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "build" / "server"
MODEL = os.environ.get("MODEL", "demo")
SEED = 6


def bodies() -> list[bytes]:
    """All JPEGs of the folder.

    Raises:
        FileNotFoundError: There are none.
    """
    folder = Path(os.environ.get("PICTURES", ROOT / "demo" / "pictures"))
    found = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
    if not found:
        raise FileNotFoundError(f"no *.jpg in {folder}; choose another folder with PICTURES=")
    return found


def address() -> str:
    """Of the server that ``make serve`` started; its default where none runs."""
    state = HOME / "server.json"
    port = json.loads(state.read_text())["addresses"]["inference"] if state.is_file() else 8080
    return f"http://127.0.0.1:{port}"


def token() -> dict[str, str]:
    """A token lives an hour, so the file is read again by every user that starts."""
    keys = HOME / "key_file.json"
    key = os.environ.get("TOKEN") or (json.loads(keys.read_text())["inference"]["key"] if keys.is_file() else None)
    return {"Authorization": f"Bearer {key}"} if key else {}


class Camera(HttpUser):
    """Sends the pictures in an order of its own, the same one every time."""

    host = address()
    pictures = bodies()
    started = 0

    def on_start(self) -> None:
        """A seed for each user."""
        Camera.started += 1
        self.order = random.Random(SEED + Camera.started)
        self.client.headers.update({"Content-Type": "image/jpeg"} | token())

    @task
    def predict(self) -> None:
        """Anything but 200 counts as a failure."""
        self.client.post(f"/predictions/{MODEL}", self.order.choice(self.pictures))
