"""Published models by name: downloaded once, checked, kept in a cache folder."""

from export.download.named import Resolved, resolve

__all__ = ["Resolved", "resolve"]
