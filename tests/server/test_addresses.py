import os
import socket
import subprocess
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from server.addresses import Addresses

CONFIG = (Path(__file__).parents[2] / "config.properties").read_text()


def test_the_defaults_are_those_of_the_configuration() -> None:
    assert Addresses().write_into(CONFIG) == CONFIG


def test_every_port_is_replaced() -> None:
    text = Addresses(1, 2, 3, 4, 5).write_into(CONFIG)
    assert "inference_address=http://127.0.0.1:1\n" in text
    assert "management_address=http://127.0.0.1:2\n" in text
    assert "metrics_address=http://127.0.0.1:3\n" in text
    assert "grpc_inference_port=4\n" in text
    assert "grpc_management_port=5\n" in text


def test_a_configuration_without_an_address_is_refused() -> None:
    with pytest.raises(ValueError, match="must set inference_address once, got 0 lines"):
        Addresses().write_into("load_models=all\n")


def test_another_port_moves_all_of_them() -> None:
    assert Addresses.from_port(8080) == Addresses()
    assert Addresses.from_port(9080) == Addresses(9080, 9081, 9082, 8070, 8071)


@pytest.mark.parametrize("port", [80, 2033, 65534, 99999])
def test_a_port_without_room_for_the_others_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match=f"must be from 2034 to 65533, .* got {port}"):
        Addresses.from_port(port)


def test_a_taken_port_is_seen() -> None:
    addresses = Addresses.free()
    assert addresses.taken() == []
    with socket.create_server(("127.0.0.1", addresses.metrics)):
        assert addresses.taken() == [addresses.metrics]


def test_a_port_that_a_connection_goes_out_from_is_taken_even_after_its_end() -> None:
    addresses = Addresses.free()
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as outgoing:
        outgoing.bind(("127.0.0.1", addresses.grpc_inference))
        outgoing.connect(listening.getsockname())
        accepted, _ = listening.accept()
        assert addresses.taken() == [addresses.grpc_inference]
    assert addresses.taken() == [addresses.grpc_inference]  # which waits for a minute, as whoever closes first does
    accepted.close()


def test_what_is_left_of_a_servers_connections_is_no_obstacle() -> None:
    addresses = Addresses.free()
    with socket.create_server(("127.0.0.1", addresses.inference)) as listening:
        client = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
        accepted.close()
    client.close()
    assert addresses.taken() == []


def test_no_free_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Addresses, "taken", lambda _: [1])
    with pytest.raises(RuntimeError, match="no five free ports found between 12000 and 32000"):
        Addresses.free()


def test_no_proxy_is_asked_for_this_machine() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as listening:
        Thread(target=listening.serve_forever).start()
        ask = (
            f"from server.addresses import open_url; print(open_url('http://127.0.0.1:{listening.server_port}').status)"
        )
        # The environment is read when Python starts.
        environment = os.environ | {"http_proxy": "http://127.0.0.1:9"}
        asked = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True)
        listening.shutdown()
    assert asked.stdout == "200\n", asked.stderr


def test_nothing_listens_beyond_this_machine() -> None:
    lines = [line for line in CONFIG.splitlines() if "address=" in line]
    assert len(lines) == 5
    assert all("127.0.0.1" in line for line in lines)


def test_the_configuration_holds_no_path_of_a_machine() -> None:
    assert "/home" not in CONFIG
    assert "model_store" not in [line.split("=")[0] for line in CONFIG.splitlines()]
