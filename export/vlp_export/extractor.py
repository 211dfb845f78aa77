"""A model that reads region features names what makes them of pictures: a deployment, and its digest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vlp_spec.encoder_digest import encoder_digest
from vlp_spec.errors import ArtifactError
from vlp_spec.found_deployment import find_deployment
from vlp_spec.tasks import Task

from vlp_export.plan import ExportPlan


def with_extractor(plan: ExportPlan, repository: Path, name: str | None) -> ExportPlan:
    """The plan with its extractor as it lies in the repository now.

    Args:
        plan: of any model.
        repository: where the extractor was published.
        name: of the deployment; None takes the one that the checkpoint names, if any.

    Raises:
        ArtifactError: the model reads no regions, or the extractor is not there, or is none, or gives other features.
    """
    if plan.image.get("type") != "regions":
        if name is not None:
            raise ArtifactError(f"extractor {name!r}: this model reads pictures, not region features")
        return plan
    name = name or plan.image.get("extractor")
    if not name:
        return plan
    found = find_deployment(repository, name).deployment
    if found.tasks != (Task.REGIONS,):
        raise ArtifactError(f"extractor {name!r}: it does {', '.join(found.tasks)}, expected {Task.REGIONS}")
    sizes = {spec.shape[-1] for graph in found.graphs for spec in graph.outputs if spec.name == "region_features"}
    if sizes != {plan.image["region_size"]}:
        raise ArtifactError(
            f"extractor {name!r}: gives features of {sorted(map(str, sizes))} numbers, the model reads "
            f"{plan.image['region_size']}"
        )
    named = {"extractor": found.name, "extractor_digest": encoder_digest(found)}
    return replace(plan, image={**plan.image, **named})
