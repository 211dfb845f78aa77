"""Write one step's gradients of a recipe to a file: python write_gradients.py RECIPE RUN_DIR OUT (.safetensors).

Under `accelerate launch` every process takes its share, and the main one writes the average.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from vlp_models.training.family import family_of
from vlp_models.training.machine import training_machine
from vlp_models.training.recipe_file import load_recipe
from vlp_models.training.trainer import Trainer
from vlp_models.training.training_data import BatchPlace, choose_texts, load_splits


def main(recipe_path: str, run_dir: str, out: str) -> None:
    recipe = load_recipe(recipe_path)
    with training_machine("cpu", recipe.compute) as accelerator:
        family = family_of(recipe)
        train, _ = load_splits(recipe, family.preparation)
        texts = choose_texts(recipe, train.records)
        torch.manual_seed(recipe.seed)
        model = family.build_model(texts, None)
        micro_batches = recipe.optimisation.grad_accumulation
        place = BatchPlace(accelerator.process_index, accelerator.num_processes, micro_batches)
        streams = family.build_streams(train, texts, place)
        losses = family.build_losses(model, texts)
        trainer = Trainer(recipe, losses, streams, accelerator=accelerator, run_dir=Path(run_dir))
        trainer.accumulate_gradients()
        if accelerator.is_main_process:
            gradients = {name: value.grad for name, value in losses.trainable().items() if value.grad is not None}
            save_file(gradients | {"processes": torch.tensor(accelerator.num_processes)}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
