"""Pictures to COCO JSON with Ray Data: ``python -m examples.ray_data model_store/demo.mar demo/pictures build/coco``.

The pictures are a folder, or a text file with a path or URL a line (s3://, gs://, whatever pyarrow or fsspec open).
The last folder, which all nodes must see, gets ``results.json`` (COCO's results), ``images.json`` (their ids and the
classes) and ``errors.jsonl``. A run that ended early, however it did, is gone on with by running it again.
"""

import argparse
import hashlib
import json
import os
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from examples.archives import answer, unpacked, worker_of
from examples.ray_parts import PARTS, Line, collect, settled, write_part, write_whole
from examples.ray_pictures import Named, listed, read

READERS = 8  # object stores answer slowly, and many at a time


class Detect:
    """One worker of the pool: a batch of pictures to one part."""

    def __init__(self, archive: str, threads: int, batch: int, headers: dict[str, str], out: Path, system: Any) -> None:
        self._headers, self._out, self._system = headers, out, system
        self._worker = worker_of(unpacked(archive), Path(archive).stem, threads, batch)
        self._readers = ThreadPoolExecutor(READERS)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Read, answer, write; what is handed on is only how many there were."""
        from handler.requests.incoming import Incoming

        bodies = [*self._readers.map(lambda place: read(self._system, str(place)), batch["place"])]
        requests = [Incoming({"body": body}, self._headers) for body in bodies if isinstance(body, bytes)]
        replies, broken = answer(self._worker, requests) if requests else ([], False)
        if broken:
            os._exit(1)  # Ray starts another one, and gives it the same batch
        left = iter(replies)
        lines = [
            _unread(name, body) if isinstance(body, Exception) else _line(name, next(left))
            for name, body in zip(map(str, batch["name"]), bodies, strict=True)
        ]
        write_part(self._out, lines)
        return {"pictures": [len(lines)]}


def _unread(name: str, error: Exception) -> Line:
    return {"file": name, "error": {"code": "unreadable", "message": f"{type(error).__name__}: {error}"}, "again": True}


def _line(name: str, reply: Any) -> Line:
    """What became of one picture; a fault of ours is worth another try."""
    said = json.loads(reply.body)
    if reply.status >= 400:
        return {"file": name, "error": said["error"], "again": reply.status >= 500}
    if not isinstance(said, list):  # a file may hold a request of KServe, which is answered as one
        return {"file": name, "error": {"code": "not_an_image", "message": "the file is JSON"}, "again": False}
    return {"file": name, "results": said} | ({"truncated": True} if reply.truncated else {})


def start_ray(threads: int, workers: int) -> None:
    """The cluster that RAY_ADDRESS names, or one of this machine alone, which ends with this process."""
    alone = "RAY_ADDRESS" not in os.environ
    if alone:  # Ray reads it when it is imported: else it listens on the address of the machine, not on 127.0.0.1
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    import ray.data

    few = {"num_cpus": threads * workers + 1, "object_store_memory": 200_000_000}  # only names are stored
    here = {"address": "local", "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    ray.init(**(here | few if alone else {}))
    ray.data.DataContext.get_current().enable_progress_bars = False


def refuse_another(out: Path, archive: Path, options: list[str]) -> None:
    """Keep the answers of two models, or to two questions, apart.

    Raises:
        ValueError: The folder has those of another.
    """
    model = next(archive.glob("model.pt*"), archive / "model.pt") if archive.is_dir() else archive
    with model.open("rb") as file:
        asked = {"archive": hashlib.file_digest(file, "sha256").hexdigest(), "options": sorted(options)}
    (out / PARTS).mkdir(parents=True, exist_ok=True)
    if not (known := out / "asked.json").exists():
        write_whole(known, [json.dumps(asked)])
    if json.loads(known.read_text()) != asked:
        raise ValueError(f"{out} has the answers of another archive or other options: give another folder")


def as_headers(options: list[str]) -> dict[str, str]:
    """The options as a request has them; the format is COCO's.

    Raises:
        ValueError: One has no value.
    """
    if wrong := [option for option in options if "=" not in option]:
        raise ValueError(f"--option takes NAME=VALUE, got {wrong[0]}")
    given = dict(option.split("=", 1) for option in options) | {"format": "coco"}
    return {f"x-detect-{name.replace('_', '-')}": value for name, value in given.items()}


def class_names(archive: Path) -> list[str]:
    """By label.

    Raises:
        OSError: It is none of our archives.
    """
    names: list[str] = json.loads((unpacked(str(archive)) / "model_card.json").read_text())["class_names"]
    return names


def answer_all(left: list[Named], system: Any, arguments: argparse.Namespace) -> None:
    """Write a part for each batch."""
    start_ray(arguments.threads, arguments.workers)
    import ray.data  # only now: see start_ray

    headers, out, archive = as_headers(arguments.option), arguments.out.absolute(), str(arguments.archive.absolute())
    answers = ray.data.from_items(left).map_batches(
        Detect,
        fn_constructor_args=(archive, arguments.threads, arguments.batch, headers, out, system),
        batch_size=arguments.batch,
        compute=ray.data.ActorPoolStrategy(size=arguments.workers),
        num_cpus=arguments.threads,
    )
    try:
        answers.materialize()
    except ray.exceptions.RayError as error:
        raise RuntimeError(f"Ray ended the run; what is done stays done. {error}") from error
    ray.shutdown()


def run(arguments: argparse.Namespace) -> int:
    """Answer what is not answered yet, then collect; the exit code."""
    out, classes = arguments.out.absolute(), class_names(arguments.archive)
    as_headers(arguments.option)  # refuses before anything is written
    system, pictures = listed(arguments.pictures)
    refuse_another(out, arguments.archive, arguments.option)
    done = settled(out)
    left = [each for each in pictures if each["name"] not in done]
    if left:
        answer_all(left, system, arguments)
    answered, failed = collect(out, [each["name"] for each in pictures], classes)
    print(f"{answered} answered, {failed} not ({len(pictures) - len(left)} of an earlier run): {out}/results.json")
    return int(failed > 0)


def main() -> None:
    """Exit with 0: all answered; 1: some not, see ``errors.jsonl``; 2: the run could not begin, or not go on."""
    parser = argparse.ArgumentParser(prog="python -m examples.ray_data", description=__doc__)
    parser.add_argument("archive", type=Path, help="a .mar, or its unpacked folder")
    parser.add_argument("pictures", help="a folder, or a text file with a path or URL a line")
    parser.add_argument("out", type=Path, help="a folder for the answers")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--threads", type=int, default=1, help="of each (default: 1)")
    parser.add_argument("--batch", type=int, default=8, help="pictures of a batch (default: 8)")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="as masks=polygon")
    try:
        sys.exit(run(parser.parse_args()))
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
