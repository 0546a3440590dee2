"""How a checkpoint file is read, byte by byte, before anything of the size it claims is made."""
