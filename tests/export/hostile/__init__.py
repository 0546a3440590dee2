"""Checkpoint files made to hurt whoever reads them, and the proof that they cannot."""
