"""`vlpserve triton-repository`: what Triton serves, written from deployments."""

from __future__ import annotations

from pathlib import Path

import click
from vlp_export.triton_config import BatchingConfig
from vlp_export.triton_repository import FLAVOURS, TritonOptions, write_triton_repository
from vlp_spec.errors import ArtifactError
from vlp_spec.found_deployment import FoundDeployment, deployment_names, deployment_versions, find_deployment
from vlp_zoo import zoo_path

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("triton-repository")
@click.argument("target", type=_FOLDER)
@click.option(
    "--repository",
    "repositories",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder with deployments; may be given several times. Default: the shipped models.",
)
@click.option("--model", "models", multiple=True, help="Only these deployments, and what makes their region features.")
@click.option("--versions", type=click.IntRange(1), default=2, show_default=True, help="Newest versions of each.")
@click.option(
    "--flavour",
    type=click.Choice(FLAVOURS),
    default="python",
    show_default=True,
    help="nvidia: Triton's onnxruntime and tensorrt backends; python: the Python backend alone.",
)
@click.option(
    "--instances",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Copies of every graph; see docs/triton.md.",
)
@click.option(
    "--threads",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Threads of a graph in the Python backend; 0: every CPU.",
)
@click.option(
    "--queue-delay-us",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Microseconds that a request waits for company.",
)
@click.option(
    "--queue-size", type=click.IntRange(1), default=256, show_default=True, help="Requests of a graph that may wait."
)
def triton_repository(target: Path, repositories: tuple[Path, ...], models: tuple[str, ...], **given: object) -> None:
    """Write a Triton model repository to TARGET: TARGET/model_repository for Triton, TARGET/deployments beside it.

    Every graph is a model there, and so is every task: `scenes-vilt-vqa.vqa` takes a picture and questions.
    """
    found = _find(repositories or (zoo_path() / "repository",), models, _number(given["versions"]))
    batching = BatchingConfig(
        max_queue_size=_number(given["queue_size"]),
        max_queue_delay_us=_number(given["queue_delay_us"]),
        instances=_number(given["instances"]),
        kept_versions=_number(given["versions"]),
    )
    options = TritonOptions(str(given["flavour"]), batching, _number(given["threads"]))
    try:
        names = write_triton_repository(target, found, options)
    except OSError as error:
        raise ArtifactError(f"{target}: cannot be written: {error}") from error
    click.echo(f"{len(names)} models in {target / 'model_repository'}: {', '.join(names)}")


def _find(repositories: tuple[Path, ...], models: tuple[str, ...], versions: int) -> list[FoundDeployment]:
    found: dict[tuple[Path, str], list[FoundDeployment]] = {}
    for repository in repositories:
        for name in deployment_names(repository):
            numbers = deployment_versions(repository, name)[-versions:]
            found[repository, name] = [find_deployment(repository, f"{name}@{number}") for number in numbers]
    wanted = set(models) or {name for _, name in found}
    if missing := sorted(wanted - {name for _, name in found}):
        known = ", ".join(sorted({name for _, name in found})) or "none"
        raise ArtifactError(
            f"no deployment {missing[0]!r} in {', '.join(map(str, repositories))}; what is there: {known}"
        )
    chosen = [one for (_, name), group in found.items() if name in wanted for one in group]
    wanted |= {str(one.deployment.image.get("extractor", "")) for one in chosen}
    chosen = [one for (_, name), group in found.items() if name in wanted for one in group]
    if not chosen:
        raise ArtifactError(f"no deployments in {', '.join(map(str, repositories))}")
    return chosen


def _number(value: object) -> int:
    return int(str(value))
