"""Which network a checkpoint holds: whose it is, what its shapes say, and that it is whole."""
