"""Starts, asks and stops a TorchServe on this machine: what `make serve`, the tests and the benchmarks share."""
