"""How one checkpoint spells its weights, so that a message names what stands, or should stand, in the user's file."""

import re
from collections.abc import Collection
from os.path import commonprefix

from export.kinds import Format
from export.names.table import NameTable


class Spelling:
    """The names of one checkpoint.

    Args:
        table: Those of its framework.
        names: Those that it has, all of them in the table.
    """

    def __init__(self, table: NameTable, names: Collection[str]) -> None:
        self._table, self._names = table, names

    @property
    def format(self) -> Format:
        """The framework."""
        return self._table.format

    def foreign(self, canonical: str) -> str:
        """The checkpoint's own name of a weight; of one that it lacks the name that fits to its others.

        A framework writes some layers in several ways: with a norm behind them, for example, or as it did in former
        versions. Of what it has no name for (the bias of a layer that always has a norm) the layer is named.
        """
        for name in self._names:
            if self._table.canonical(name) == canonical:
                return name
        if spellings := self._table.spellings(canonical):
            return max(spellings, key=self._likeness)
        return self._beside(canonical)

    def _likeness(self, spelling: str) -> tuple[bool, int]:
        """First whether it differs from another name in its numbers only, then how long they begin alike."""
        alike = any(_numberless(name) == _numberless(spelling) for name in self._names)
        return alike, max((len(commonprefix((name, spelling))) for name in self._names), default=0)

    def _beside(self, canonical: str) -> str:
        layer, _, part = canonical.rpartition(".")
        while layer:
            if self._table.spellings(f"{layer}.weight"):
                return f"the {part} beside {self.foreign(f'{layer}.weight')}"
            layer, _, outer = layer.rpartition(".")
            part = f"{outer}.{part}"
        return f"{canonical} (of which {self.format} has none)"


def _numberless(name: str) -> str:
    return re.sub(r"\d+", "0", name)
