import dataclasses

import pytest
from vlp_spec.deployment import Deployment, GraphRef, OutputProof, Proof, check_name
from vlp_spec.errors import ArtifactError


@pytest.mark.parametrize("name", ["a", "0", "scenes-vilt-vqa", "A.b_c-9", "x" * 128])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "-x", "_x", "a/b", "a\\b", "../x", "a..b", "/etc", "x" * 129]
    + ["a b", "a\n", "a\0", "é", "C:", "~", "a@1", "%2e%2e", "\u202ea"],
)
def test_names_that_could_leave_the_folder_or_confuse(name: str) -> None:
    with pytest.raises(ArtifactError, match="letters, digits"):
        check_name(name)


def test_graph_by_role(deployment: Deployment, graph: GraphRef) -> None:
    assert deployment.graph("fusion") is graph
    with pytest.raises(ArtifactError, match="tiny-vilt@3: no graph with role 'image'"):
        deployment.graph("image")


def test_a_proof_holds_at_its_bounds(proof: Proof) -> None:
    assert proof.holds()
    assert Proof((OutputProof("logits", 1e-4, 1e-5, 1e-4, 1e-5),), 1, 0.99, 0.99).holds()


@pytest.mark.parametrize(
    "change",
    [
        {"outputs": ()},
        {"samples": 0},
        {"agreement": 0.98},
        {"agreement": float("nan")},
        {"outputs": (OutputProof("logits", 2e-4, 0.0, 1e-4, 1e-5),)},
        {"outputs": (OutputProof("logits", 0.0, 2e-5, 1e-4, 1e-5),)},
        {"outputs": (OutputProof("logits", float("nan"), 0.0, 1e-4, 1e-5),)},
        {"outputs": (OutputProof("logits", 0.0, float("nan"), 1e-4, 1e-5),)},
        {"outputs": (OutputProof("logits", 0.0, 0.0, 1e-4, 1e-5), OutputProof("pooled", 1.0, 0.0, 1e-4, 1e-5))},
    ],
)
def test_a_proof_that_does_not_hold(change: dict[str, object], proof: Proof) -> None:
    assert not dataclasses.replace(proof, **change).holds()  # type: ignore[arg-type]


def test_a_deployment_cannot_be_changed(deployment: Deployment) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        deployment.name = "other"  # type: ignore[misc]
