"""What Triton's side of a repository is called: by those who write it, and by those who ask it."""

from __future__ import annotations

from vlp_spec.deployment import check_name
from vlp_spec.tasks import Task

IMAGE, TEXT, OPTIONS = "image", "text", "options"
"""Inputs of a task model; vlp_server.engines.task_wire says what they hold."""
ANSWER, RESULT, EMBEDDINGS, FEATURES = "answer", "result", "embeddings", "features"
"""Its outputs."""
TIMEOUT_PARAMETER, LANE_PARAMETER = "timeout_ms", "lane"
"""Parameters of a request to a task model: whole milliseconds, and a value of vlp_spec.tasks.Lane. Triton's own timeout
and priority reach models with a queue alone."""
SITE_VARIABLE = "VLPSERVE_TRITON_SITE"
"""Names folders of Python packages, for a Triton whose Python does not have vlpserve among its own."""


def task_model_name(deployment: str, task: Task) -> str:
    """What Triton calls the model that does a deployment's task.

    Raises:
        ArtifactError: it would be no name, being too long.
    """
    return check_name(f"{deployment}.{task}")
