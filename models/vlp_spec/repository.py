"""Where things lie in a repository. Paths only; reading and writing is done by those who own the files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vlp_spec.deployment import GraphRef, check_name

TOKENIZER_ASSET = "tokenizer.json"
LABELS_ASSET = "labels.json"
CANARY_ASSET = "canary.npz"
PYTHON_MODEL_FILE = "model.py"


@dataclass(frozen=True, slots=True)
class RepositoryLayout:
    """Paths of a repository folder; names are checked, so no path leaves it."""

    root: Path

    @property
    def graphs_dir(self) -> Path:
        """The Triton model repository."""
        return self.root / "model_repository"

    @property
    def deployments_dir(self) -> Path:
        """The folder of all deployments."""
        return self.root / "deployments"

    def manifest(self, name: str, version: int) -> Path:
        """The manifest of one deployment; written last, so that its presence means a whole model."""
        return self.deployments_dir / check_name(name) / f"{version}.json"

    def assets(self, name: str, version: int) -> Path:
        """The folder of one deployment's assets."""
        return self.deployments_dir / check_name(name) / str(version)

    def graph_dir(self, name: str) -> Path:
        """The folder that Triton calls a model."""
        return self.graphs_dir / check_name(name)

    def graph_file(self, graph: GraphRef, file_name: str) -> Path:
        """A file of a graph's version folder, such as model.onnx."""
        return self.graph_dir(graph.name) / str(graph.version) / check_name(file_name)
