"""What the user can put right: a message without a traceback."""


class ExportError(Exception):
    """The checkpoint, a flag or the proof does not allow an export; the text says which and what to do."""
