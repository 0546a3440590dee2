"""From a trained checkpoint to one self-contained .mar."""
