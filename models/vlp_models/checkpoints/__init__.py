"""Checkpoints on disk: one call opens any of them, one writes ours."""

from vlp_models.checkpoints.checkpoint import LoadedCheckpoint
from vlp_models.checkpoints.load import load_checkpoint
from vlp_models.checkpoints.save import save_checkpoint

__all__ = ["LoadedCheckpoint", "load_checkpoint", "save_checkpoint"]
