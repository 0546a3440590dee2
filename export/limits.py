"""The largest counts that an export takes, on the command line or out of a config.

Beyond them nothing sensible is meant, and some would not fit the 64 bits of an op's argument.
"""

from export.conventions import Conventions
from export.errors import ExportError

MOST = 1_000_000  # of anything that is counted, unless it is named here
MOST_DETECTIONS = 10_000  # of one picture
MOST_PIXELS = 2**31 - 1  # TorchServe is a Java program
LONGEST_SIDE = 65_500  # of a picture: a JPEG has no longer ones

_LARGEST = {
    "preprocessing": {"min_size": LONGEST_SIDE, "max_size": LONGEST_SIDE},
    "proposals": {"pre_nms_top_n": MOST, "post_nms_top_n": MOST},
    "detections": {"max_detections": MOST_DETECTIONS},
}


def check_limits(conventions: Conventions, origin: str) -> None:
    """Refuse counts that no network was trained with.

    Args:
        conventions: As they would be used.
        origin: Where they come from, for the error.

    Raises:
        ExportError: A count is not from 1 to its largest; names it and the range.
    """
    for section, largest in _LARGEST.items():
        for name, most in largest.items():
            value = getattr(getattr(conventions, section), name)
            if not 1 <= value <= most:
                raise ExportError(f"{name} must be from 1 to {most:,}, got {value} (from {origin}, or as an option)")
