"""The engine of the name tables: a framework's names of the weights, and the names they get here.

In a template ``{s}`` stands for a number. ``{s+1}`` stands for that number and one, ``{n*3}`` for three times it: the
canonical name gets the plain number. None in place of a canonical name means: dropped on purpose.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from export.errors import ExportError
from export.kinds import Format

Rows = dict[str, str | None]
Tensors = Mapping[str, Tensor]

NORM_PARTS = {"weight": "weight", "bias": "bias", "running_mean": "mean", "running_var": "variance"}

_PLACEHOLDER = re.compile(r"\{(\w)(?:\*(\d+))?(?:\+(\d+))?\}")


def norm(foreign: str, canonical: str) -> Rows:
    """Rows of a norm, its counter of training steps included."""
    rows: Rows = {f"{foreign}.{theirs}": f"{canonical}.{ours}" for theirs, ours in NORM_PARTS.items()}
    return rows | {f"{foreign}.num_batches_tracked": None}


def affine(foreign: str, canonical: str) -> Rows:
    """Rows of a weight and its bias."""
    return {f"{foreign}.{part}": f"{canonical}.{part}" for part in ("weight", "bias")}


def unchanged(tensors: Tensors) -> dict[str, Tensor]:
    """The same tensors."""
    return dict(tensors)


class Template:
    """One spelling with placeholders."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._steps = {match[1]: (int(match[2] or 1), int(match[3] or 0)) for match in _PLACEHOLDER.finditer(text)}
        literal = _PLACEHOLDER.sub(lambda match: f"<{match[1]}>", text)
        self._pattern = re.compile(re.sub(r"<(\w)>", r"(?P<\1>\\d{1,9})", re.escape(literal)))

    def numbers(self, name: str) -> dict[str, int] | None:
        """The plain numbers of a name of this spelling; None of another."""
        if not (match := self._pattern.fullmatch(name)):
            return None
        found = {}
        for key, text in match.groupdict().items():
            factor, offset = self._steps[key]
            found[key], rest = divmod(int(text) - offset, factor)
            if rest or found[key] < 0:
                return None
        return found

    def fill(self, numbers: Mapping[str, int]) -> str:
        """The name with these numbers; ``N`` where one is not known."""

        def number(match: re.Match[str]) -> str:
            factor, offset = self._steps[match[1]]
            return str(numbers[match[1]] * factor + offset) if match[1] in numbers else "N"

        return _PLACEHOLDER.sub(number, self._text)


@dataclass(frozen=True)
class NameTable:
    """All names of one framework.

    Attributes:
        format: The framework.
        rows: Its templates and ours. Of several spellings of a weight the first is the one that it writes today.
        likely_causes: Beginnings of names that are not read, and where they come from, for the error.
        before: Mends the tensors under their foreign names.
        after: Mends them under their canonical names.
    """

    format: Format
    rows: Rows
    likely_causes: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[Tensors], dict[str, Tensor]] = unchanged
    after: Callable[[Tensors], dict[str, Tensor]] = unchanged

    def __post_init__(self) -> None:
        templates = [(Template(foreign), canonical and Template(canonical)) for foreign, canonical in self.rows.items()]
        object.__setattr__(self, "_templates", templates)

    _templates: list[tuple[Template, Template | None]] = field(init=False, repr=False, compare=False)

    def canonical(self, foreign: str) -> str | None:
        """The name of one weight here; None where it is dropped on purpose.

        Raises:
            ExportError: The table does not list the name; the text says the likely cause.
        """
        for theirs, ours in self._templates:
            if (numbers := theirs.numbers(foreign)) is not None:
                return ours.fill(numbers) if ours else None
        causes = (cause for prefix, cause in self.likely_causes.items() if re.match(prefix, foreign))
        cause = next(causes, f"it is not part of a Mask R-CNN or Faster R-CNN of {self.format}")
        raise ExportError(f"unexpected key {foreign}: {cause}")

    def foreign(self, canonical: str) -> str:
        """The name that the framework writes today for a canonical one.

        Raises:
            KeyError: There is none.
        """
        if spellings := self.spellings(canonical):
            return spellings[0]
        raise KeyError(canonical)

    def spellings(self, canonical: str) -> list[str]:
        """Every name that the framework ever wrote for a canonical one, today's first."""
        found = ((theirs, ours.numbers(canonical)) for theirs, ours in self._templates if ours)
        return [theirs.fill(numbers) for theirs, numbers in found if numbers is not None]

    def to_canonical(self, tensors: Tensors) -> dict[str, Tensor]:
        """Rename every weight of a checkpoint.

        Args:
            tensors: Foreign name to tensor.

        Returns:
            Canonical name to tensor, less what is dropped on purpose.

        Raises:
            ExportError: A name is not in the table, or two names mean the same weight.
        """
        renamed: dict[str, Tensor] = {}
        origin: dict[str, str] = {}
        for foreign, tensor in self.before(tensors).items():
            canonical = self.canonical(foreign)
            if canonical is None:
                continue
            if canonical in renamed:
                raise ExportError(f"keys {origin[canonical]} and {foreign} are two spellings of one weight; keep one")
            renamed[canonical], origin[canonical] = tensor, foreign
        return self.after(renamed)
