"""The committed table of known advisories, and what the package index knows besides."""

import json
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from packaging.version import Version

from tests.audit.inventory import UNTOLD, Component

TABLE = Path(__file__).with_name("advisories.toml")
INDEX = "https://pypi.org/pypi"
SECONDS = 10.0

Verdict = Literal["fixed", "held off", "applies"]


@dataclass(frozen=True)
class Advisory:
    """One published flaw of a library that is installed here.

    Attributes:
        id: Its number.
        component: The library.
        fixed: First version without it.
        about: What it is, in a few words.
        why: What it means here where the version has it: what holds it off, or who is exposed.
        exposed: Whether somebody is exposed all the same.
        source: Where it was read.
    """

    id: str
    component: str
    fixed: str
    about: str
    why: str
    source: str
    exposed: bool = False

    def verdict(self, version: str) -> Verdict:
        """What it means for the version that is installed; one that is not told counts as too old."""
        if version != UNTOLD and _comparable(version) >= _comparable(self.fixed):
            return "fixed"
        return "applies" if self.exposed else "held off"


def _comparable(version: str) -> Version:
    return Version(re.sub(r"(?i)\.final$", "", version))


def table(path: Path = TABLE) -> tuple[date, list[Advisory]]:
    """The day on which the table was last looked through, and its rows."""
    read = tomllib.loads(path.read_text())
    return read["checked"], [Advisory(**row) for row in read["advisory"]]


def unknown_to(advisories: Iterable[Advisory], said: Iterable[str]) -> list[str]:
    """The numbers that the index names and the table does not."""
    return sorted(set(said) - {each.id for each in advisories})


def said_by_index(component: Component, index: str = INDEX) -> list[str] | None:
    """Numbers of the advisories that the package index knows of one version.

    Args:
        component: A Python package.
        index: Base address of its JSON API.

    Returns:
        CVE numbers where there are some, else the index's own; None where it does not answer for this version.
    """
    address = f"{index}/{component.name}/{component.version.partition('+')[0]}/json"
    try:
        with urlopen(Request(address, headers={"Accept": "application/json"}), timeout=SECONDS) as answer:
            known = json.load(answer).get("vulnerabilities")
    except HTTPError as error:
        error.close()
        return None
    except (URLError, TimeoutError, ValueError):
        return None
    return None if known is None else [_number(each) for each in known if not each.get("withdrawn")]


def _number(known: dict[str, object]) -> str:
    aliases = [str(each) for each in known.get("aliases") or []]  # type: ignore[attr-defined]
    return next((each for each in aliases if each.startswith("CVE-")), str(known["id"]))
