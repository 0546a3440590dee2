"""Load and faults against a real TorchServe, every request accounted for: ``python -m tests.soak``."""
