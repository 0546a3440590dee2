"""Ray is an extra (``make ray``): tests that need it are skipped where it is not, or fail where it must be."""

import importlib.util
import os

import pytest

NEEDED = ("ray", "python_multipart")


def skip_without_ray() -> None:
    """Leave out the whole module that calls this; with REQUIRE_RAY=1 in the environment, fail instead."""
    lacking = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if lacking and os.environ.get("REQUIRE_RAY") == "1":
        raise RuntimeError(f"REQUIRE_RAY=1, but {', '.join(lacking)} cannot be imported: make ray")
    if lacking:
        pytest.skip("Ray is not installed here: make ray", allow_module_level=True)
