"""Write one step's gradients of a recipe to a file: python write_gradients.py RECIPE RUN_DIR OUT (.safetensors).

Under `accelerate launch` every process takes its share, and the main one writes the average.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from vlp_models.training.initial_model import build_initial_model
from vlp_models.training.losses import ObjectiveLosses
from vlp_models.training.machine import training_machine
from vlp_models.training.recipe_file import load_recipe
from vlp_models.training.trainer import Trainer
from vlp_models.training.training_data import build_streams, choose_texts, load_splits


def main(recipe_path: str, run_dir: str, out: str) -> None:
    recipe = load_recipe(recipe_path)
    with training_machine("cpu", recipe.compute) as accelerator:
        train, _ = load_splits(recipe)
        texts = choose_texts(recipe, train.records)
        torch.manual_seed(recipe.seed)
        model = build_initial_model(recipe, texts.processor.vocab_size, len(texts.labels))
        streams = build_streams(
            recipe, train, texts, rank=accelerator.process_index, processes=accelerator.num_processes
        )
        losses = ObjectiveLosses(model, recipe.objectives)
        trainer = Trainer(recipe, losses, streams, accelerator=accelerator, run_dir=Path(run_dir))
        trainer.accumulate_gradients()
        if accelerator.is_main_process:
            gradients = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
            save_file(gradients | {"processes": torch.tensor(accelerator.num_processes)}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
