"""``python -m export.download``: list the published models, or fetch one."""

import argparse
import sys
from collections.abc import Sequence

from export.download import cache, zoo
from export.download.named import resolve
from export.download.zoo import Published
from export.errors import ExportError


def main(arguments: Sequence[str]) -> int:
    """Run the command: names on stdout, or the path of the file fetched.

    Returns:
        0, or 2 with one message where a model cannot be had.
    """
    options = _parser().parse_args(arguments)
    if options.name is None:
        print("\n".join(map(_line, zoo.MODELS)))
        return 0
    try:
        print(resolve(options.name).path)
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        "python -m export.download",
        description="Without a name: list the published models. With one: download its file into the folder "
        "MASKRCNN_CACHE (default: ~/.cache/maskrcnn-serve) unless it is there, check it, and print its path.",
    )
    made.add_argument("name", nargs="?", help="of the list, for example coco; as CHECKPOINT of make mar too")
    return made


def _line(model: Published) -> str:
    facts = [f"{model.megabytes} MB"] if model.megabytes else []
    facts.append(str(model.checksum or "no checksum published"))
    if model.preset != model.name:
        facts.append(f"preset {model.preset}")
    if cache.place(model).is_file():
        facts.append(f"in {cache.place(model).parent}")
    names = " = ".join((model.name, *model.also))
    return f"{names}\n    {', '.join(facts)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
