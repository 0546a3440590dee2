"""What a deployment chooses about the model's arithmetic and, on a GPU, about CUDA graphs."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch

from handler.setting_checks import check, is_count

Dtype = Literal["float32", "float16", "bfloat16"]
Fusion = Literal["none", "frozen", "optimized"]

DTYPES: dict[Dtype, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
FUSIONS: tuple[Fusion, ...] = ("none", "frozen", "optimized")


@dataclass(frozen=True)
class Graphs:
    """When the first half of the network is recorded as a CUDA graph, which a GPU starts in one go.

    Attributes:
        most: Most graphs that are kept, one a size of batch and canvas; 0: none are made.
        after: Passes of one size until it gets a graph: making one costs as much as some dozen passes. The sizes of
            the warm-up get theirs at once.
        search: Before a graph is made, let cuDNN time all its algorithms for the size (seconds, once) instead of
            guessing the best ones.
    """

    most: int = 32
    after: int = 3
    search: bool = False

    def __post_init__(self) -> None:
        check(is_count(self.most, least=0), "graphs.most", "an integer of at least 0", self.most)
        check(is_count(self.after), "graphs.after", "an integer of at least 1", self.after)
        check(isinstance(self.search, bool), "graphs.search", "true or false", self.search)

    @classmethod
    def from_config(cls, section: object) -> "Graphs":
        """Read the key ``graphs``.

        Raises:
            ValueError: A key is unknown or a value does not fit.
        """
        check(isinstance(section, Mapping), "graphs", "keys and values", section)
        values: dict[str, Any] = dict(section)  # type: ignore[call-overload]  # checked above
        known = sorted(field.name for field in fields(cls))
        for name in values:
            check(name in known, "a key of graphs", f"one of {', '.join(known)}", name)
        return cls(**values)


def check_arithmetic(dtype: object, tf32: object, fusion: object) -> None:
    """Refuse what is no choice.

    Raises:
        ValueError: The text names the key and the choices.
    """
    check(dtype in tuple(DTYPES), "dtype", f"one of {', '.join(DTYPES)}", dtype)
    check(isinstance(tf32, bool), "tf32", "true or false", tf32)
    check(fusion is None or fusion in FUSIONS, "fusion", f"auto or one of {', '.join(FUSIONS)}", fusion)
