"""The proof that the trace answers as the model it was made of (``export/prove`` asks the framework itself)."""
