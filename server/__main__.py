"""``python -m server COMMAND``: the TorchServe of this checkout."""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

from server import proxy_token, tokens
from server.addresses import Addresses
from server.management import Management
from server.torchserve import ServerError, TorchServe, fingerprint_of, refuse_taken, start

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "build" / "server"
CONFIG = ROOT / "config.properties"


def start_command(arguments: argparse.Namespace) -> None:
    """Serve one archive and return when it answers; nothing is restarted that runs and has not changed."""
    archives = {arguments.name: arguments.archive.resolve()}
    server = TorchServe.load(HOME)
    addresses = arguments.port or (server.addresses if server else Addresses())
    if server and server.fingerprint != fingerprint_of(CONFIG, archives, addresses):
        refuse_taken([port for port in addresses.taken() if port not in astuple(server.addresses)])
        print("The archive, the port or the configuration changed: stopping the server that runs", flush=True)
        server.stop()
        server = None
    if server is None:
        print(f"Starting TorchServe, its log is {HOME.relative_to(ROOT) / 'torchserve.log'}", flush=True)
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


def server_of(name: str) -> TorchServe:
    """The server of this checkout, which has that model.

    Raises:
        ServerError: None runs, or it has no such model.
    """
    server = running_server()
    if (models := server.models()) and name not in models:
        raise ServerError(f"the server has no model {name}; name one that it has: NAME={' or NAME='.join(models)}")
    return server


def stop_command(_: argparse.Namespace) -> None:
    """Stop the server, if one runs."""
    server = TorchServe.load(HOME)
    if server:
        server.stop()
    print("Stopped" if server else "No server of this checkout was running")


def ready_command(arguments: argparse.Namespace) -> None:
    """Exit with 0 only if the workers are up and a prediction is answered."""
    server = server_of(arguments.name)
    try:
        ready = server.is_ready(arguments.name, timeout=arguments.timeout)
    except TimeoutError:
        raise ServerError(f"{arguments.name} did not answer within {arguments.timeout:g} s") from None
    if not ready:
        states = ", ".join(worker["status"] for worker in server.workers(arguments.name))
        where = server.home / "logs" / "ts_log.log"  # of TorchServe, which may not have got so far as to start a worker
        raise ServerError(f"{arguments.name} is not ready (workers: {states or 'none'}); see {where}")
    print("ready")


def predict_command(arguments: argparse.Namespace) -> None:
    """Become ``python -m handler.client`` with the address and the key file of the server."""
    server = server_of(arguments.name)
    tokens.headers(server.home, "inference", server.addresses.management_url, proxy_token.SPARE_SECONDS)
    key_file = server.home / tokens.FILE_NAME
    token = ["--token-file", str(key_file)] if key_file.is_file() else []
    url = f"{server.addresses.inference_url}/predictions/{arguments.name}"
    given = arguments.arguments[arguments.arguments[:1] == ["--"] :]
    os.execv(sys.executable, [sys.executable, "-m", "handler.client", url, *token, *given])


def versions_command(arguments: argparse.Namespace) -> None:
    """List the versions of the model that are registered."""
    for version in Management(server_of(arguments.name), arguments.name).versions():
        print(version)


def register_command(arguments: argparse.Namespace) -> None:
    """Add the version in an archive of the model store; once it truly answers, it is the default."""
    number = Management(running_server(), arguments.name).register(arguments.archive.name, arguments.workers)
    print(f"version {number} of {arguments.name} answers, and is the default now")


def scale_command(arguments: argparse.Namespace) -> None:
    """Start or end workers, and wait until all answer."""
    Management(server_of(arguments.name), arguments.name).scale(arguments.workers, arguments.version)
    print(f"{arguments.name} has {arguments.workers} workers")


def rollback_command(arguments: argparse.Namespace) -> None:
    """Make a version that is still registered the default again, if it answers."""
    Management(server_of(arguments.name), arguments.name).make_default(arguments.version)
    print(f"version {arguments.version} of {arguments.name} is the default now")


def unregister_command(arguments: argparse.Namespace) -> None:
    """Take a version away once it has answered all that it was asked."""
    Management(server_of(arguments.name), arguments.name).unregister(arguments.version, arguments.timeout)
    print(f"version {arguments.version} of {arguments.name} is gone")


def proxy_token_command(arguments: argparse.Namespace) -> None:
    """Keep the file with the token up to date that nginx includes; --once: write it and return."""
    server = running_server()
    if arguments.once:
        proxy_token.supply(server, arguments.file, arguments.pid_file)
    else:
        proxy_token.keep_supplied(server, arguments.file, arguments.pid_file)


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
    start_ = _named(commands, "start", start_command)
    start_.add_argument("archive", type=Path, help="the .mar to serve")
    ports = "of the inference API, the others follow (default: that of the server that runs, or 8080)"
    start_.add_argument("--port", type=_addresses, help=ports)
    commands.add_parser("stop", help=stop_command.__doc__).set_defaults(run=stop_command)
    _named(commands, "url", url_command)
    ready = _named(commands, "ready", ready_command)
    ready.add_argument("--timeout", type=float, default=30.0, help="seconds for the prediction (default: 30)")
    predict = _named(commands, "predict", predict_command)
    predict.add_argument("arguments", nargs=argparse.REMAINDER, help="of handler.client, after --")
    token = commands.add_parser("token", help=token_command.__doc__)
    token.add_argument("kind", choices=["inference", "management", "API"], nargs="?", default="inference")
    token.set_defaults(run=token_command)
    _add_management(commands)
    proxy = commands.add_parser("proxy-token", help=proxy_token_command.__doc__)
    proxy.add_argument("file", type=Path, help="that the configuration of nginx includes")
    proxy.add_argument("--pid-file", type=Path, help="of nginx, which is told to read it again")
    proxy.add_argument("--once", action="store_true")
    proxy.set_defaults(run=proxy_token_command)
    return top


def _add_management(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    _named(commands, "versions", versions_command)
    register = _named(commands, "register", register_command)
    register.add_argument("archive", type=Path, help="a file of the model store that the server was started with")
    register.add_argument("--workers", type=int, help="of the new version (default: 1)")
    scale = _named(commands, "scale", scale_command)
    scale.add_argument("workers", type=int)
    scale.add_argument("--version", help="which (default: the one that answers)")
    _named(commands, "rollback", rollback_command).add_argument("version")
    unregister = _named(commands, "unregister", unregister_command)
    unregister.add_argument("version")
    unregister.add_argument("--timeout", type=float, default=150.0, help="seconds to wait for its last answers")


def _named(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, run: Callable[..., None]
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=run.__doc__)
    command.add_argument("--name", required=True, help="model name in the address")
    command.set_defaults(run=run)
    return command


def _addresses(port: str) -> Addresses:
    if not port.isdecimal():
        raise argparse.ArgumentTypeError(f"the port must be a number, got {port}")
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
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
