"""Fixtures for the tests of the handler."""

from tests.handler.gpu.fake_gpu import fake_gpu

__all__ = ["fake_gpu"]
