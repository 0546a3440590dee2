"""What only a worker on a GPU does: copies that nobody waits for, sizes that repeat, CUDA graphs of them."""
