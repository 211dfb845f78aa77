"""`vlpserve regions`: what a picture shows where, and an .npz file that other commands take in its place."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click
from vlp_client import FoundRegions

from vlp_cli.output import print_json, print_model
from vlp_cli.picture_argument import REGIONS_SUFFIX, asking_options, read_argument, told_faults
from vlp_cli.server_url import AskedServer
from vlp_cli.table import counted, print_table

_HEAD = ("name", "attribute", "score", "x0", "y0", "x1", "y1")


@click.command()
@click.argument("picture")
@click.option("--npz", type=click.Path(path_type=Path, dir_okay=False), help="Keep boxes, features and scores here.")
@asking_options
def regions(picture: str, npz: Path | None, server: AskedServer, model: str | None, fetch: bool, as_json: bool) -> None:
    """List the regions of PICTURE, a file, a URL or -; boxes are shares of its width and height."""
    image, in_place = read_argument(picture, fetch=fetch)
    if image is None:
        raise click.UsageError(f"{in_place['regions']}: these are regions already; give a picture")
    if npz is not None and npz.suffix.lower() != REGIONS_SUFFIX:
        raise click.UsageError(f"--npz {npz}: expected a name ending with {REGIONS_SUFFIX}, by which commands know it")
    with told_faults(picture), server.client() as client:
        found = client.regions(image, features=npz is not None, model=model)
    if npz is not None:
        with told_faults(str(npz)):
            _write(npz, found)
    if as_json:
        listed = [dataclasses.asdict(region) for region in found.regions]
        print_json({"model": found.model, "encoder": found.encoder, "regions": listed})
        return
    rows = [
        (
            region.name,
            region.attribute or "-",
            "-" if region.score is None else f"{region.score:.3f}",
            *(f"{edge:.3f}" for edge in region.box),
        )
        for region in found.regions
    ]
    print_table(_HEAD, rows)
    kept = "" if npz is None else f", {counted(len(rows), 'region')} kept in {npz}"
    print_model(found.model, kept)


def _write(path: Path, found: FoundRegions) -> None:
    """Arrays boxes (R, 4), features (R, F) and, where there are any, scores (R,), all float32."""
    import numpy as np

    sent = found.to_send()
    features = np.frombuffer(found.features or b"", dtype="<f4")
    arrays = {"boxes": sent.boxes, "features": features.reshape(len(sent.boxes), -1)}
    if sent.scores is not None:
        arrays["scores"] = sent.scores
    kept: dict[str, Any] = {name: np.asarray(array, dtype=np.float32) for name, array in arrays.items()}
    with path.open("wb") as file:
        np.savez(file, **kept)
