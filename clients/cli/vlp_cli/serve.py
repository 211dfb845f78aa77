"""`vlpserve serve`: configuration, models, service, door, in this order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from vlp_server.config import ModelTarget, ServerConfig, core_settings, resolve_config
from vlp_server.core.service import Service
from vlp_server.engines.dummy_deployment import build_dummy_deployment
from vlp_server.http.logs import set_up_logs
from vlp_server.http.server import HttpServer, MakeBeside
from vlp_server.index.opening import open_store
from vlp_server.index.store import VectorStore
from vlp_spec.found_deployment import find_deployment
from vlp_spec.tasks import Task

from vlp_cli.model_sources import find_models
from vlp_cli.settings_flags import as_flags

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--config", "file", type=_FILE, help="TOML file with settings.")
@click.option("--repository", type=_FILE, help="Folder with deployments.")
@click.option("--host", help="Address to listen on.")
@click.option("--port", help="Port to listen on; 0 takes a free one.")
@click.option("--grpc-port", help="Port of gRPC; 0 takes a free one. None: the one after --port.")
@click.option("--engine", help="What computes: onnx, triton or dummy.")
@click.option("--triton-url", help="gRPC addresses of Triton servers, host:port, with commas.")
@click.option("--threads", help="Threads of each model; 0: every CPU.")
@click.option("--keys-file", type=_FILE, help="API keys; see docs/access.md. None: nobody is asked for one.")
@click.option("--ready-file", type=_FILE, help="Written when ready: JSON with the address and process id.")
@click.option("--log-level", help="debug, info, warning or error.")
@click.option("--log-format", help="text or json.")
@click.option("--access-log/--no-access-log", "access", default=None, help="Log a line for every request.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Any setting; see config check.")
def serve(models: tuple[str, ...], file: Path | None, assignments: tuple[str, ...], **options: object) -> None:
    """Serve MODELs over HTTP and gRPC; none: all that --repository holds, or without one those that the package ships.

    A MODEL is the name of a deployment in --repository, of a shipped model, "dummy" (or "dummy-encoder",
    "dummy-matcher", "dummy-entailment" and so on: made-up answers, to try things out), a checkpoint directory, or a hub
    id. The latter two are exported on first use, which needs the export extra, and kept.
    """
    named = {
        "models.serve": ",".join(models) if models else None,
        "models.repository": options["repository"],
        "http.host": options["host"],
        "http.port": options["port"],
        "grpc.port": options["grpc_port"],
        "engine.engine": options["engine"],
        "engine.threads": options["threads"],
        "engine.triton_urls": options["triton_url"],
        "access.keys_file": options["keys_file"],
        "ready_file": options["ready_file"],
        "log.level": options["log_level"],
        "log.format": options["log_format"],
        "log.access": options["access"],
    }
    config = resolve_config(as_flags(named, assignments), None, file).config
    set_up_logs(config.log)
    found = find_models(config)
    service = Service(core_settings(config, found.targets, found.default), store=_store(config, found.targets))
    make_grpc = _make_grpc(service, config) if config.grpc.enabled else None
    HttpServer(service, config, lambda address: click.echo(f"vlpserve is ready at {address}"), make_grpc).run()


def _make_grpc(service: Service, config: ServerConfig) -> MakeBeside:
    """What makes the gRPC door; a server without one does not import it."""
    from vlp_server.grpc.server import GrpcServer

    return lambda shared, oip: GrpcServer(service, config, shared, oip=oip)


def _store(config: ServerConfig, targets: Sequence[ModelTarget]) -> VectorStore | None:
    """The store of collections, where there are to be any; a folder is taken only by a server that can fill it."""
    collections = config.collections
    if not collections.enabled or not collections.place or not any(_makes_vectors(target) for target in targets):
        return None
    return open_store(collections.place, config.store)


def _makes_vectors(target: ModelTarget) -> bool:
    if target.repository is None:
        return Task.EMBEDDINGS in build_dummy_deployment(target.reference).tasks
    return Task.EMBEDDINGS in find_deployment(target.repository, target.reference).deployment.tasks
