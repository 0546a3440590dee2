"""``python -m server start|stop|ready|url|token``: the TorchServe of this checkout."""

import argparse
import sys
from pathlib import Path

from server import tokens
from server.addresses import Addresses
from server.torchserve import ServerError, TorchServe, fingerprint_of, start

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "build" / "server"
CONFIG = ROOT / "config.properties"


def start_command(arguments: argparse.Namespace) -> None:
    """Serve one archive and return when it answers; nothing is restarted that runs and has not changed."""
    archives = {arguments.name: arguments.archive.resolve()}
    addresses = arguments.port
    server = TorchServe.load(HOME)
    if server and server.fingerprint != fingerprint_of(CONFIG, archives, addresses):
        print("The archive or the configuration changed: stopping the server that runs")
        server.stop()
        server = None
    if server is None:
        print(f"Starting TorchServe, its log is {HOME.relative_to(ROOT) / 'torchserve.log'}")
        server = start(HOME, archives, CONFIG, addresses)
    waited = server.wait_until_ready(arguments.name)
    print(f"{server.addresses.inference_url}/predictions/{arguments.name} answers (after {waited:.1f} s)")


def running_server() -> TorchServe:
    """The server of this checkout.

    Raises:
        ServerError: None runs.
    """
    server = TorchServe.load(HOME)
    if server is None:
        raise ServerError("no server of this checkout runs; start it with `make serve`")
    return server


def stop_command(_: argparse.Namespace) -> None:
    """Stop the server, if one runs."""
    server = TorchServe.load(HOME)
    if server:
        server.stop()
    print("Stopped" if server else "No server of this checkout was running")


def ready_command(arguments: argparse.Namespace) -> None:
    """Exit with 0 only if the workers are up and a prediction is answered."""
    if not running_server().is_ready(arguments.name):
        raise ServerError(f"{arguments.name} is not ready")
    print("ready")


def url_command(arguments: argparse.Namespace) -> None:
    """Print the address that predicts."""
    print(f"{running_server().addresses.inference_url}/predictions/{arguments.name}")


def token_command(arguments: argparse.Namespace) -> None:
    """Print a token that is valid now."""
    server = running_server()
    header = tokens.headers(server.home, arguments.kind, server.addresses.management_url)
    print(header.get("Authorization", "").removeprefix("Bearer "))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m server", description=__doc__)
    commands = top.add_subparsers(required=True)
    start_ = commands.add_parser("start", help=start_command.__doc__)
    start_.add_argument("archive", type=Path, help="the .mar to serve")
    start_.add_argument("--name", required=True, help="model name in the address")
    start_.add_argument("--port", type=_addresses, default=Addresses(), help="of the inference API; the others follow")
    start_.set_defaults(run=start_command)
    commands.add_parser("stop", help=stop_command.__doc__).set_defaults(run=stop_command)
    for name, run in (("ready", ready_command), ("url", url_command)):
        command = commands.add_parser(name, help=run.__doc__)
        command.add_argument("--name", required=True, help="model name in the address")
        command.set_defaults(run=run)
    token = commands.add_parser("token", help=token_command.__doc__)
    token.add_argument("kind", choices=["inference", "management"], nargs="?", default="inference")
    token.set_defaults(run=token_command)
    return top


def _addresses(port: str) -> Addresses:
    try:
        return Addresses.from_port(int(port))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main() -> int:
    """Run one command; 2 where it could not do what was asked."""
    arguments = parser().parse_args()
    try:
        arguments.run(arguments)
    except (ServerError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
