"""An archive behind Ray Serve on several nodes of this machine, as a program of its own: ``running`` starts it.

Ray warns a lot and starts threads and processes, which neither tests nor measurements want in theirs.
"""

import argparse
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

import psutil

from server.addresses import Addresses

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
STORE_BYTES = 100_000_000  # of a node's object store
HAPROXY = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
SECONDS_TO_START, SECONDS_TO_STOP = 400, 60


@dataclass(frozen=True)
class Nodes:
    """A program of this file that is up.

    Attributes:
        port: Of HTTP, on the loopback interface.
        process: The program.
    """

    port: int
    process: psutil.Process

    def replicas(self) -> dict[int, int]:
        """The process of each replica, and the process of the node that it runs on."""
        below = self.process.children(recursive=True)
        return {each.pid: each.ppid() for each in below if _is_replica(each)}


def _is_replica(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.cmdline()[:1] == ["ray::ServeReplica:default:Detect"]
    return False


def environment(haproxy: bool) -> dict[str, str]:
    """What keeps Ray to itself: the loopback interface, a token that nobody else has, no report of its usage."""
    ours = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    # Ray takes the machine's own address for "127.0.0.1", unless this says that there are no other machines; and a
    # machine that has other work needs more than its 30 s to start a node.
    ours |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_raylet_start_wait_time_s": "240"}
    if haproxy:  # and nobody waits for balancers of other machines to look elsewhere
        ours |= HAPROXY | {"RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1"}
    return {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | ours


@contextmanager
def running(
    archive: Path, nodes: int, replicas: int, batch: int = 4, haproxy: bool = False, least: int | None = None
) -> Iterator[Nodes]:
    """Nodes of one CPU each, with so many replicas of one thread each.

    Args:
        archive: A ``.mar`` or its folder; the model is called ``demo``.
        nodes: At least as many as replicas.
        replicas: Neither more nor fewer, unless ``least`` says how few.
        batch: Most requests of a batch.
        haproxy: In place of Ray's own proxy; opens ports on all interfaces.
        least: Replicas to begin with; more come as requests wait.

    Raises:
        RuntimeError: It did not start; what it said stands on stderr.
    """
    port = Addresses.free().inference
    numbers = map(str, (port, nodes, replicas, batch, least or replicas))
    command = [sys.executable, "-m", "benchmarks.ray_nodes", str(archive.resolve()), *numbers]
    program = subprocess.Popen(
        command, cwd=ROOT, env=environment(haproxy), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    started, late = Nodes(port, psutil.Process(program.pid)), Timer(SECONDS_TO_START, program.kill)
    late.start()
    try:
        if not any(line.strip() == "ready" for line in program.stdout or ()):
            raise RuntimeError("Ray Serve did not start")
        late.cancel()
        yield started
    finally:
        late.cancel()
        _stop(program)


def _stop(program: "subprocess.Popen[str]") -> None:
    """By the end of its input; what is left of it after a while, by force."""
    below = psutil.Process(program.pid).children(recursive=True) if program.poll() is None else []
    with suppress(subprocess.TimeoutExpired):
        program.communicate(timeout=SECONDS_TO_STOP)
    for each in below:
        with suppress(psutil.NoSuchProcess):  # psutil knows a process that got the id of one that has ended
            each.kill()
    program.kill()
    program.communicate()


def main(given: Sequence[str] | None = None) -> None:
    """Start, say so, wait for the end of the input, stop."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ray_nodes", description=__doc__)
    parser.add_argument("archive")
    for name in ("port", "nodes", "replicas", "batch", "least"):
        parser.add_argument(name, type=int)
    arguments = parser.parse_args(given)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    import ray  # here: the rest of this file serves those who only start it
    from ray import serve
    from ray.cluster_utils import Cluster

    from examples.ray_serve import Arguments, app

    node = {"num_cpus": 1, "object_store_memory": STORE_BYTES, "node_ip_address": HOST}
    cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    try:
        for _ in range(arguments.nodes - 1):
            cluster.add_node(**node)
        ray.init(address=cluster.address, _node_ip_address=HOST, log_to_driver=False)
        serve.start(proxy_location="HeadOnly", http_options={"host": HOST, "port": arguments.port})
        names = ("archive", "replicas", "batch", "least")
        serve.run(app(Arguments(**{name: getattr(arguments, name) for name in names})))
        print("ready", flush=True)
        sys.stdin.read()
        serve.shutdown()
        ray.shutdown()
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
