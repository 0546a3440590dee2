"""An archive behind Ray Serve on several nodes of this machine: ``python -m tests.ray_nodes ARCHIVE PORT NODES REPLICAS``.

A program of its own, because Ray warns a lot and starts threads and processes. Each node has one CPU, so each replica
is on another one. It prints a line when all is up, and ends when its standard input does.
"""

import sys

import ray
from ray import serve
from ray.cluster_utils import Cluster

from examples.ray_serve import app

HOST = "127.0.0.1"
NODE = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False, "node_ip_address": HOST}


def main(archive: str, port: int, nodes: int, replicas: int) -> None:
    """Start, wait, stop."""
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    try:
        for _ in range(nodes - 1):
            cluster.add_node(num_cpus=1, object_store_memory=100_000_000, node_ip_address=HOST)
        ray.init(address=cluster.address, _node_ip_address=HOST, log_to_driver=False)
        serve.start(proxy_location="HeadOnly", http_options={"host": HOST, "port": port})
        serve.run(app({"archive": archive, "name": "demo", "least": str(replicas), "replicas": str(replicas)}))
        print("ready", flush=True)
        sys.stdin.read()
        serve.shutdown()
        ray.shutdown()
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
