"""The models that vlpserve ships, as data: checkpoints, a repository with their proved graphs, sample pictures."""

from vlp_zoo.paths import zoo_path

__all__ = ["zoo_path"]
