"""`vlpserve detector`: train the region detector of the scenes, measure one, and extract the features of a data set."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import click
from vlp_zoo import zoo_path

from vlp_cli.table import format_table


@click.group()
def detector() -> None:
    """Train and measure a region detector, and extract what models of regions read."""


@detector.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option("--crop-steps", type=click.IntRange(0), default=4000, show_default=True, help="Of the classifier.")
@click.option("--steps", type=click.IntRange(1), default=2400, show_default=True, help="Of the detector.")
@click.option("--limit", type=click.IntRange(0), default=0, help="Read at most this many pictures; 0: all.")
@click.option("--threads", type=click.IntRange(0), default=2, show_default=True, help="Of torch; 0: its own choice.")
@click.option("--device", default="cpu", show_default=True, help="cpu, or a CUDA device.")
@click.option("--seed", default=0, show_default=True)
@click.option("--resume", is_flag=True, help="Go on with a run that was broken off.")
def train(  # noqa: PLR0913 - one parameter an option
    data: Path, out: Path, crop_steps: int, steps: int, limit: int, threads: int, device: str, seed: int, resume: bool
) -> None:
    """Train the small detector of the scenes on DATA, whose records have regions with words."""
    import torch
    from vlp_models.data.detector_pictures import load_detector_examples
    from vlp_models.data.sources import open_source
    from vlp_models.families.faster_rcnn_config import FasterRcnnConfig
    from vlp_models.scenes.detector import scenes_detector_settings, scenes_vocabulary
    from vlp_models.training.detector_crops import CropRecipe
    from vlp_models.training.detector_training import DetectorRecipe, train_detector
    from vlp_pipeline.detector_image import DetectorImageProcessor

    if threads:
        torch.set_num_threads(threads)
    vocabulary = scenes_vocabulary()
    config = FasterRcnnConfig.scenes(len(vocabulary.classes), len(vocabulary.attributes))
    settings = scenes_detector_settings(config)
    processor = DetectorImageProcessor(settings)
    examples = load_detector_examples(open_source(data, "train", "auto"), "train", vocabulary, processor, limit)
    recipe = DetectorRecipe(steps=steps, seed=seed, crops=CropRecipe(steps=crop_steps))
    train_detector(
        config,
        examples,
        settings=settings,
        vocabulary=vocabulary,
        recipe=recipe,
        out_dir=out,
        device=device,
        resume=resume,
    )


@detector.command()
@click.argument("deployment")
@click.option("--repository", type=click.Path(path_type=Path), help="Whose deployment this is; default the shipped.")
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True, help="Data set folder.")
@click.option("--split", default="test", show_default=True)
@click.option("--pictures", type=click.IntRange(1), default=1000, show_default=True, help="Its first so many pictures.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def evaluate(deployment: str, repository: Path | None, data: Path, split: str, pictures: int, as_json: bool) -> None:
    """Measure DEPLOYMENT, a name or a checkpoint directory: what it finds, and whether it knows what it found."""
    from vlp_models.data.detector_pictures import DetectorVocabulary, load_detector_examples
    from vlp_models.data.sources import open_source
    from vlp_models.evaluation.detector_artefacts import open_detector
    from vlp_models.evaluation.detector_evaluation import evaluate_detector
    from vlp_pipeline.detector_image import DetectorImageProcessor

    opened = open_detector(deployment, zoo_path() / "repository" if repository is None else repository)
    vocabulary = DetectorVocabulary(opened.classes, opened.attributes)
    processor = DetectorImageProcessor(opened.settings)
    examples = load_detector_examples(open_source(data, split, "auto"), split, vocabulary, processor, pictures)
    scores = dataclasses.asdict(evaluate_detector(opened.detect, examples))
    if as_json:
        click.echo(json.dumps(scores, indent=1))
        return
    click.echo(format_table(("figure", "value"), [(name, f"{value:.4g}") for name, value in scores.items()]))


@detector.command()
@click.argument("deployment")
@click.option("--repository", type=click.Path(path_type=Path), help="Whose deployment this is; default the shipped.")
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True, help="Data set folder.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder that gets a pack for each split.")
@click.option("--split", "splits", multiple=True, default=("train", "val", "test"), show_default=True)
@click.option("--limit", type=click.IntRange(0), default=0, help="Of each split at most so many pictures; 0: all.")
@click.option("--classes/--no-classes", default=True, help="Keep each region's distribution over classes.")
def extract(
    deployment: str, repository: Path | None, data: Path, out: Path, splits: tuple[str, ...], limit: int, classes: bool
) -> None:
    """Extract the regions of a data set with DEPLOYMENT, a name or a checkpoint directory, for training."""
    from tqdm import tqdm
    from vlp_models.data.faults import FaultCounter
    from vlp_models.data.region_pack import RegionPackWriter
    from vlp_models.data.sources import open_source
    from vlp_models.evaluation.detector_artefacts import extract_regions, open_detector

    opened = open_detector(deployment, zoo_path() / "repository" if repository is None else repository)
    for split in splits:
        faults, kept = FaultCounter(split), 0
        source = open_source(data, split, "auto")
        with RegionPackWriter(out / split) as writer, tqdm(desc=split, unit="picture") as bar:
            found = extract_regions(opened, source, faults, with_classes=classes)
            for picture_id, regions in itertools.islice(found, limit or None):
                writer.add(picture_id, regions)
                kept += 1
                bar.update()
            faults.check(kept)


@detector.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the pack.")
def repack(source: Path, out: Path) -> None:
    """Write the regions of SOURCE as a pack, which is mapped and not read whole.

    SOURCE is a .tsv of bottom-up attention, a folder of .npz files, or UNITER's image LMDB. Regions are chosen as in
    UNITER's databases: those of a confidence above 0.2, but at least 10 and at most 100.
    """
    from tqdm import tqdm
    from vlp_models.data.region_pack import RegionPackWriter
    from vlp_models.data.region_store import open_region_store
    from vlp_pipeline.regions import select_regions

    store = open_region_store(source)
    with RegionPackWriter(out) as writer:
        for picture_id in tqdm(store.ids(), unit="picture"):
            writer.add(picture_id, select_regions(store.regions(picture_id)))
    store.close()
