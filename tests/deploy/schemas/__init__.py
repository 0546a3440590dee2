"""Schemas of kinds that Kubernetes itself does not have, and how they were made."""
