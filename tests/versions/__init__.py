"""The proof that one build of the ops and one ``.mar`` serve several versions of PyTorch."""
