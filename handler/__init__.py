"""What runs in the TorchServe worker, from the bytes of a picture to the bytes of an answer."""
