"""The proof against the framework itself: it and the served path answer the same pictures, and must agree."""

from export.prove.answers import Framework
from export.prove.compared import Tolerance
from export.prove.frameworks import source_framework
from export.prove.proof import SourceProof, prove
from export.prove.source import Source

__all__ = ["Framework", "Source", "SourceProof", "Tolerance", "prove", "source_framework"]
