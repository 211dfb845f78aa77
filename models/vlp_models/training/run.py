"""A whole run: recipe and folder in, trained checkpoint out."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from vlp_spec.errors import ConfigError

from vlp_models.training.family import Split, TrainingFamily, family_of
from vlp_models.training.final_checkpoint import write_final
from vlp_models.training.machine import training_machine
from vlp_models.training.optimizer import freeze_parameters
from vlp_models.training.recipe import Recipe
from vlp_models.training.recipe_file import dump_recipe
from vlp_models.training.run_state import saved_steps
from vlp_models.training.trainer import Trainer, TrainingOutcome
from vlp_models.training.training_data import (
    BatchPlace,
    TrainingTexts,
    choose_texts,
    read_texts,
    save_texts,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunOptions:
    """What a run takes besides its recipe.

    Attributes:
        out_dir: the run's folder.
        device: "auto", "cpu", "cuda" or "cuda:N".
        resume: continue from the newest checkpoint in `out_dir`; a run that has none yet starts.
        progress: show a progress bar.
    """

    out_dir: Path
    device: str = "auto"
    resume: bool = False
    progress: bool = True


def run_training(recipe: Recipe, options: RunOptions) -> TrainingOutcome:
    """Train as the recipe says.

    Writes `out_dir`/{recipe.toml, tokenizer.json, labels.json, log.jsonl, tensorboard/, checkpoints/step-N/} and, at
    the end, final/.

    Raises:
        ConfigError: the recipe or the folder cannot be used.
        ArtifactError: data, tokenizer, or the checkpoint to start from cannot be used.
        InferenceError: training diverged.
    """
    with training_machine(options.device, recipe.compute) as accelerator:
        return _run(recipe, options, accelerator)


def _run(recipe: Recipe, options: RunOptions, accelerator: Accelerator) -> TrainingOutcome:
    steps = _earlier_steps(recipe, options)
    accelerator.wait_for_everyone()  # nobody may look for earlier steps after somebody wrote new ones
    family = family_of(recipe)
    train, validation_split = family.load_splits()
    torch.manual_seed(recipe.seed)
    model, texts = _model_and_texts(family, recipe, options, train, accelerator, is_new=not steps)
    freeze_parameters(model, recipe.freeze)
    losses = family.build_losses(model, texts)
    micro_batches = recipe.optimisation.grad_accumulation
    place = BatchPlace(accelerator.process_index, accelerator.num_processes, micro_batches)
    streams = family.build_streams(train, texts, place)
    _describe(recipe, model, texts, streams[0].batches_per_epoch)
    # From here on every process draws its own random numbers (dropout).
    torch.manual_seed(recipe.seed * 1_000_003 + accelerator.process_index)
    validate = family.build_validation(losses, validation_split, texts, accelerator) if validation_split else None
    trainer = Trainer(recipe, losses, streams, accelerator=accelerator, run_dir=options.out_dir, validate=validate)
    if steps:
        step = trainer.resume(options.out_dir / "checkpoints" / f"step-{steps[-1]}")
        logger.info("resumed at step %d", step)
    outcome = trainer.run(progress=options.progress)
    if outcome.is_finished:
        trainer.finish()
        if accelerator.is_main_process:
            write_final(options.out_dir / "final", model, family, texts)
    accelerator.wait_for_everyone()
    return outcome


def _earlier_steps(recipe: Recipe, options: RunOptions) -> list[int]:
    """Steps saved by an earlier sitting of this run."""
    steps = saved_steps(options.out_dir / "checkpoints")
    if steps and not options.resume:
        raise ConfigError([f"{options.out_dir}: holds a run (step {steps[-1]}); resume it, or choose another folder"])
    stored = options.out_dir / "recipe.toml"
    if steps and stored.is_file() and stored.read_text(encoding="utf-8") != dump_recipe(recipe):
        logger.warning("the recipe is not the one that this run was started with (%s)", stored)
    return steps


def _model_and_texts(
    family: TrainingFamily[Any],
    recipe: Recipe,
    options: RunOptions,
    train: Split,
    accelerator: Accelerator,
    *,
    is_new: bool,
) -> tuple[nn.Module, TrainingTexts]:
    """Build the model; the main process writes the new run's files and everybody reads them."""
    source = None
    if recipe.model.init:
        from vlp_models.checkpoints import load_checkpoint

        source = load_checkpoint(recipe.model.init)
    if is_new and accelerator.is_main_process:
        options.out_dir.mkdir(parents=True, exist_ok=True)
        texts = choose_texts(
            recipe,
            train.records,
            given_tokenizer=source.tokenizer if source else "",
            given_labels=source.labels or () if source else (),
        )
        save_texts(texts, options.out_dir)
        (options.out_dir / "recipe.toml").write_text(dump_recipe(recipe), encoding="utf-8")
    accelerator.wait_for_everyone()
    max_length = source.config.max_text_len if source else recipe.text.max_length
    texts = read_texts(options.out_dir, max_length)
    return family.build_model(texts, source), texts


def _describe(recipe: Recipe, model: nn.Module, texts: TrainingTexts, batches_per_epoch: int) -> None:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    logger.info(
        "%s: %.2f M parameters, vocabulary %d, %d labels, %d batches an epoch",
        recipe.name,
        parameters / 1e6,
        texts.vocab_size,
        len(texts.labels),
        batches_per_epoch,
    )
