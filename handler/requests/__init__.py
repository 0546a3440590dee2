"""What a client sends: pictures and options, in whatever transport, to what the worker computes."""
