"""Why a model could not be loaded, as its clients read it: one line, without traces and paths, and what to do.

Nothing but the standard library is imported here, for the reason may be that something else cannot be.
"""

import json
import re
import sys
from pathlib import Path

MOST_CHARACTERS = 400
SEE_THE_LOG = "the log of the worker has the whole story; correct it and start the server again"
_EXPORT_AGAIN = "export the .mar again and register it in place of this one"
_MEMORY = (
    "give it more memory or the model fewer workers (maxWorkers in model-config.yaml), then start the server again"
)

_RIGHT_PYTORCH = (
    "serve it with PyTorch 2.11 or later, best with the version it was exported with, or export it again with this one"
)
_INSTALL = "install what the message names where the server runs, then start the server again"
_ROOM = "free some space in the folder that TEMP names and start the server again"

_THAT_PYTORCH = "serve it with that version of PyTorch, or export it again with this one"

# What the kind and the text of an exception have in them, and what to do: the first that fits.
_HINTS = (
    (r"noexec|failed to map segment", "set TEMP to a folder that is not mounted noexec and start the server again"),
    (r"model\.pt2 needs PyTorch", _THAT_PYTORCH),
    (r"another processor", "export the .mar on a machine of this kind, with `make ops` run there"),
    (r"needs PyTorch|undefined symbol|Unknown builtin op|file format version", _RIGHT_PYTORCH),
    (r"startupTimeout", "raise it in model-config.yaml, or give the worker more cores; the next start tries again"),
    (r"killed or crashed", f"the kernel's log (dmesg) names what was killed for want of memory: {_MEMORY}"),
    (r"MemoryError|OutOfMemory|(Cannot|can't) allocate memory|not enough memory|out of memory|bad_alloc", _MEMORY),
    (r"No space left|[Dd]isk quota", _ROOM),
    (r"^ValueError: model-config\.yaml:", "correct that key of model-config.yaml, pack the .mar again and register it"),
    (r"^DeviceError:", "correct what the message names, then start the server again"),
    (r"a library that it needs|No module named '(?!handler|ops|maskrcnn_handler)", _INSTALL),
    (r"^(ModuleNotFound|Import|Syntax|FileNotFound)Error:|\.so |model\.pt|model_card|central directory", _EXPORT_AGAIN),
)


def reason(error: BaseException, folder: Path) -> tuple[str, str]:
    """What is said of an exception.

    Args:
        error: Raised while the model was loaded.
        folder: The unpacked archive.

    Returns:
        The message and the hint.
    """
    text = _first_line(error, folder)
    text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"the model could not be loaded: {text}{_versions(folder)}", _hint(text)


def _first_line(error: BaseException, folder: Path) -> str:
    """PyTorch goes on with the frames of C++; paths are the server's own business."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename:  # str() of it quotes the path
        text = f"{error.strerror}: {error.filename}"
    lines = [line.strip() for line in re.split(r"\n\s*frame #|Exception raised from", text)[0].splitlines()]
    line = " ".join(filter(None, lines)).replace(f"{folder}/", "")
    line = re.sub(r"(?<![\w.])/(?:[^\s/'\":,;()]+/)+", "", line)
    return line if len(line) <= MOST_CHARACTERS else f"{line[:MOST_CHARACTERS]}..."


def _hint(text: str) -> str:
    return next((hint for pattern, hint in _HINTS if re.search(pattern, text)), SEE_THE_LOG)


def _versions(folder: Path) -> str:
    """Other packages than those it was proved with are no fault, but worth a word where something is."""
    try:
        proved = json.loads((folder / "model_card.json").read_text())["versions"]["torch"]
        running = sys.modules["torch"].__version__
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
    return f" (exported with PyTorch {proved}, this is {running})" if proved != running else ""
