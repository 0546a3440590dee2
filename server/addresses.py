"""Where one TorchServe listens, as its config.properties says it."""

import random
import re
import socket
from dataclasses import dataclass
from urllib.request import ProxyHandler, build_opener

HOST = "127.0.0.1"
# Of config.properties, in the order of the ports below.
_SETTINGS = (
    *("inference_address", "management_address", "metrics_address"),
    *("grpc_inference_port", "grpc_management_port"),
)
LOWEST, HIGHEST = 2034, 65533  # of the inference API: gRPC listens 1010 below it, the metrics two above
# What may be chosen here: below the ports that Linux gives to outgoing connections, or one of these could take a port
# between the choice and the server's start.
_CHOICE = range(12_000, 32_000)
# Never through a proxy that the environment names: it would look for 127.0.0.1 on its own machine.
open_url = build_opener(ProxyHandler({})).open


@dataclass(frozen=True)
class Addresses:
    """The five ports of one server on the loopback interface."""

    inference: int = 8080
    management: int = 8081
    metrics: int = 8082
    grpc_inference: int = 7070
    grpc_management: int = 7071

    @classmethod
    def from_port(cls, port: int) -> "Addresses":
        """The default ports, moved so that the inference API listens on ``port``.

        Raises:
            ValueError: One of the five would be none, or one that only root may take.
        """
        if not LOWEST <= port <= HIGHEST:
            raise ValueError(f"the port must be from {LOWEST} to {HIGHEST}, as four more follow from it, got {port}")
        shift = port - cls.inference
        return cls(port, port + 1, port + 2, cls.grpc_inference + shift, cls.grpc_management + shift)

    @classmethod
    def free(cls) -> "Addresses":
        """The default ports, moved by chance to where all five are free.

        Raises:
            RuntimeError: There was no such place among a hundred.
        """
        for port in random.sample(_CHOICE, 100):
            if not (found := cls.from_port(port)).taken():
                return found
        raise RuntimeError(f"no five free ports found between {_CHOICE.start} and {_CHOICE.stop}")

    @classmethod
    def in_properties(cls, properties: str) -> "Addresses":
        """The ports that the text of a config.properties names.

        Raises:
            ValueError: One of them is not there.
        """
        ports = []
        for name in _SETTINGS:
            found = re.findall(rf"(?m)^{name}=(?:\S*:)?(\d+)$", properties)
            if len(found) != 1:
                raise ValueError(f"config.properties must set {name} once, with a port, got {len(found)} such lines")
            ports.append(int(found[0]))
        return cls(*ports)

    @property
    def inference_url(self) -> str:
        """Base address of the inference API."""
        return f"http://{HOST}:{self.inference}"

    @property
    def management_url(self) -> str:
        """Base address of the management API."""
        return f"http://{HOST}:{self.management}"

    @property
    def metrics_url(self) -> str:
        """Base address of the metrics API."""
        return f"http://{HOST}:{self.metrics}"

    def taken(self) -> list[int]:
        """The ports that a server could not have: something listens there, or a connection goes out from there."""
        ports = (self.inference, self.management, self.metrics, self.grpc_inference, self.grpc_management)
        return [port for port in ports if _is_taken(port)]

    def write_into(self, properties: str) -> str:
        """The text of a config.properties with these ports instead of its own.

        Raises:
            ValueError: A setting that must be replaced is not there.
        """
        values = (
            *(self.inference_url, self.management_url, self.metrics_url),
            *(str(self.grpc_inference), str(self.grpc_management)),
        )
        for name, value in zip(_SETTINGS, values, strict=True):
            properties, found = re.subn(rf"(?m)^{name}=.*$", f"{name}={value}", properties)
            if found != 1:
                raise ValueError(f"config.properties must set {name} once, got {found} lines")
        return properties


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        # As Java does it: what is left of a former server's connections is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False
