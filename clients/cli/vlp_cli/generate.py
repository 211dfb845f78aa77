"""`vlpserve generate`: documents that are made from the code. Tests prove them current."""

from __future__ import annotations

import json
from pathlib import Path

import click
from vlp_server.config import ServerConfig
from vlp_server.config.report import config_page
from vlp_server.core.service import Service
from vlp_server.core.settings import CoreSettings, EngineSettings, ModelSettings
from vlp_server.http.app import create_app

from vlp_cli.cli_page import cli_page
from vlp_cli.http_page import http_page
from vlp_cli.proto_page import MARK, with_reference


def openapi_text() -> str:
    """docs/openapi.json; the version is left out, so that a release does not change the interface."""
    settings = CoreSettings(models=(ModelSettings(reference="dummy", engine=EngineSettings(engine="dummy")),))
    description = create_app(Service(settings), ServerConfig()).openapi()
    description["info"]["version"] = "v1"
    return json.dumps(description, indent=1, sort_keys=True) + "\n"


@click.command()
@click.option("--docs", type=click.Path(path_type=Path, file_okay=False), default=Path("docs"), show_default=True)
def generate(docs: Path) -> None:
    """Write cli.md, configuration.md, openapi.json, http-api.md and the reference of grpc.md into a folder of docs."""
    (docs / "configuration.md").write_text(config_page(), encoding="utf-8")
    description = openapi_text()
    (docs / "openapi.json").write_text(description, encoding="utf-8")
    (docs / "http-api.md").write_text(http_page(json.loads(description)), encoding="utf-8")
    (docs / "cli.md").write_text(cli_page(), encoding="utf-8")
    grpc_page = docs / "grpc.md"
    opening = grpc_page.read_text(encoding="utf-8") if grpc_page.exists() else f"# gRPC\n\n{MARK}"
    grpc_page.write_text(with_reference(opening), encoding="utf-8")
    click.echo(f"wrote cli.md, configuration.md, openapi.json, http-api.md and grpc.md to {docs}")
