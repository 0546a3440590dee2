"""Answers of an unpacked archive to pictures, by whatever PyTorch runs this file.

    python -m tests.versions.answers FOLDER PICTURE...

prints a JSON list, one reply a picture.
"""

import sys
from pathlib import Path

from handler.requests.incoming import Incoming
from handler.worker import Worker


def main(folder: str, *pictures: str) -> None:
    """Print the answers."""
    worker = Worker.load(Path(folder), {"minWorkers": 1}, "demo", "1.0")
    replies = worker.answer([Incoming({"body": Path(each).read_bytes()}) for each in pictures], lambda *_: None)
    print(f"[{','.join(reply.body.decode() for reply in replies)}]")


if __name__ == "__main__":
    main(*sys.argv[1:])
