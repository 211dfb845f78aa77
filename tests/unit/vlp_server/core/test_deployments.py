from dataclasses import replace

import pytest
from tiny_repository import publish, write_manifest
from vlp_server.core.deployments import read_canary, verify_files
from vlp_spec.deployment import OutputProof, Proof
from vlp_spec.errors import ArtifactError
from vlp_spec.found_deployment import find_deployment


@pytest.fixture
def root(tmp_path):
    for version in (1, 2, 10):
        publish(tmp_path, version=version)
    return tmp_path


def test_what_was_published_is_whole(root):
    found = find_deployment(root, "tiny")
    verify_files(found)
    assert "output.logits" in read_canary(found)


@pytest.mark.parametrize(
    "path",
    [
        "model_repository/tiny-fp32/10/model.onnx",
        "deployments/tiny/10/tokenizer.json",
        "deployments/tiny/10/labels.json",
    ],
)
@pytest.mark.parametrize("change", ["flip", "remove"])
def test_a_changed_or_missing_file_is_named(root, path, change):
    file = root / path
    if change == "flip":
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    else:
        file.unlink()
    with pytest.raises(ArtifactError, match=path.rsplit("/", 1)[1]):
        verify_files(find_deployment(root, "tiny"))


def test_a_file_beside_the_graph_that_nobody_proved_is_refused(root):
    (root / "model_repository/tiny-fp32/10/weights.data").write_bytes(b"x")
    with pytest.raises(ArtifactError, match=r"weights.data: not in the manifest"):
        verify_files(find_deployment(root, "tiny"))


def test_triton_s_own_file_is_let_be_and_no_other_that_begins_like_it(root):
    folder = root / "model_repository/tiny-fp32/10"
    (folder / "model.py").write_text("")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/model.cpython-311.pyc").write_bytes(b"x")
    verify_files(find_deployment(root, "tiny"))
    (folder / "model.py.data").write_bytes(b"x")
    with pytest.raises(ArtifactError, match=r"model.py.data: not in the manifest"):
        verify_files(find_deployment(root, "tiny"))


def test_a_manifest_that_lists_nothing_is_refused(root):
    deployment = find_deployment(root, "tiny").deployment
    write_manifest(root, deployment, assets={})
    with pytest.raises(ArtifactError, match=r"canary.npz"):
        verify_files(find_deployment(root, "tiny"))
    write_manifest(root, deployment, graphs=(replace(deployment.graphs[0], files={}),))
    with pytest.raises(ArtifactError, match="not in the manifest"):
        verify_files(find_deployment(root, "tiny"))


def test_paths_that_lead_out_of_the_repository_are_refused(root):
    deployment = find_deployment(root, "tiny").deployment
    for name in ("../../../etc/passwd", "/etc/passwd"):
        write_manifest(root, deployment, assets={**deployment.assets, name: "0" * 64})
        with pytest.raises(ArtifactError, match="letters, digits"):
            verify_files(find_deployment(root, "tiny"))


def test_a_proof_that_does_not_hold_is_refused(root):
    deployment = find_deployment(root, "tiny").deployment
    for difference in (1.0, float("nan")):
        proof = Proof((OutputProof("logits", difference, 0.0, 1e-4, 1e-4),), 1, 1.0, 1.0)
        write_manifest(root, deployment, proof=proof)
        with pytest.raises(ArtifactError, match="proof does not hold"):
            verify_files(find_deployment(root, "tiny"))


def test_a_canary_that_cannot_be_read_is_refused(root):
    (root / "deployments/tiny/10/canary.npz").write_bytes(b"no zip")
    with pytest.raises(ArtifactError, match=r"canary.npz cannot be read"):
        read_canary(find_deployment(root, "tiny"))
