"""The answers of an offline run: parts that are there whole or not at all, and the COCO files made of them.

A line of a part is what became of one picture: ``{"file", "results"}``, with ``truncated`` where masks had to be left
out, or ``{"file", "error", "again"}``. Two parts may have the same picture (Ray computes again what a lost node did,
and two runs may overlap): the first answer counts.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

PARTS = "parts"
Line = dict[str, Any]


def write_whole(path: Path, texts: Iterable[str]) -> None:
    """Write a file under its name only when all of it is on the disk."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with unfinished.open("w") as file:
        file.writelines(texts)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def write_part(out: Path, lines: Sequence[Line]) -> None:
    """One part; the same pictures have the same name, so that it replaces itself."""
    name = hashlib.sha256("\n".join(line["file"] for line in lines).encode()).hexdigest()[:32]
    write_whole(out / PARTS / f"{name}.jsonl", (json.dumps(line) + "\n" for line in lines))


def lines_of(out: Path) -> Iterator[Line]:
    """Every line of every part."""
    for part in sorted((out / PARTS).glob("[!.]*.jsonl")):
        with part.open() as file:
            yield from map(json.loads, file)


def settled(out: Path) -> set[str]:
    """The pictures that need no second try: answered, or refused for what they are."""
    return {line["file"] for line in lines_of(out) if not line.get("again")}


def collect(out: Path, names: Sequence[str], class_names: Sequence[str]) -> tuple[int, int]:
    """Write ``results.json``, ``images.json`` and ``errors.jsonl``.

    Args:
        out: With the parts.
        names: Of all pictures; their positions, from 1, are the ids.
        class_names: By label.

    Returns:
        How many pictures have an answer, and how many an error.
    """
    ids = {name: number for number, name in enumerate(names, 1)}
    answered = dict[str, bool]()
    write_whole(out / "results.json", _results(out, ids, answered))
    errors = {
        line["file"]: line for line in lines_of(out) if "error" in line and line["file"] in ids.keys() - answered.keys()
    }
    write_whole(out / "errors.jsonl", (json.dumps(errors[name]) + "\n" for name in names if name in errors))
    images = [{"id": ids[name], "file_name": name, "truncated": answered[name]} for name in names if name in answered]
    categories = [{"id": label, "name": name} for label, name in enumerate(class_names)]
    write_whole(out / "images.json", [json.dumps({"images": images, "annotations": [], "categories": categories})])
    return len(answered), len(errors)


def _results(out: Path, ids: dict[str, int], answered: dict[str, bool]) -> Iterator[str]:
    """COCO's list, a detection a line; adds to ``answered`` each picture, and whether masks are left out."""
    start = "["
    for line in lines_of(out):
        if "results" in line and line["file"] in ids and line["file"] not in answered:
            answered[line["file"]] = line.get("truncated", False)
            for result in line["results"]:
                yield start + "\n" + json.dumps(result | {"image_id": ids[line["file"]]})
                start = ","
    yield "[]\n" if start == "[" else "\n]\n"
