"""``python -m tests.audit``: every package and jar with its version, and what is known against it."""

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.audit.advisories import Advisory, said_by_index, table, unknown_to
from tests.audit.inventory import Component, bundled_jars, installed_packages


def show_table(components: Sequence[Component], advisories: Sequence[Advisory]) -> None:
    """Print each advisory of the table whose library is installed, and what it means for the version."""
    versions = {each.name: each.version for each in components}
    for each in advisories:
        if each.component in versions:
            version = versions[each.component]
            verdict = each.verdict(version)
            print(f"{verdict:<9}{each.id:<20}{each.component} {version}, fixed in {each.fixed}: {each.about}")
            if verdict != "fixed":
                print(f"{'':<29}{each.why}")


def ask_index(packages: Sequence[Component], advisories: Sequence[Advisory]) -> list[str]:
    """Ask the package index for each package; the lines about what the table does not know."""
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(said_by_index, packages))
    unanswered = sum(each is None for each in said)
    print(f"the package index answered for {len(said) - unanswered} of {len(said)} packages")
    lines = []
    for package, known in zip(packages, said, strict=True):
        lines += [f"{package.name} {package.version}: {number}" for number in unknown_to(advisories, known or [])]
    return lines


def main() -> int:
    """Run the command; 1 where the index knows something that the table does not judge."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.audit", description="List what is installed and known against it."
    )
    parser.add_argument("--offline", action="store_true", help="ask nobody: compare with the committed table only")
    arguments = parser.parse_args()
    packages, jars = installed_packages(), bundled_jars()
    for each in [*packages, *jars]:
        print(f"{each.kind:<9}{each.name:<29}{each.version}")
    checked, advisories = table()
    print(f"\nthe table tests/audit/advisories.toml, last looked through on {checked}:")
    show_table([*packages, *jars], advisories)
    new = [] if arguments.offline else ask_index(packages, advisories)
    for line in new:
        print(f"not in the table: {line}")
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
