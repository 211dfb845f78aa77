import json
from collections.abc import Callable
from typing import Any

import pytest
from vlp_spec.deployment import Deployment
from vlp_spec.deployment_json import dump_deployment, parse_deployment
from vlp_spec.errors import ArtifactError

Raw = dict[str, Any]
FREE_MAPPINGS = {"image", "text", "files", "assets", "source", "producers", "notes", "head"}


def parse(raw: Any) -> Deployment:
    return parse_deployment(json.dumps(raw))


def places(value: Any, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The way to every record (object with fixed keys) below a manifest."""
    if isinstance(value, list):
        return [found for index, child in enumerate(value) for found in places(child, (*place, index))]
    if not isinstance(value, dict) or (place and place[-1] in FREE_MAPPINGS and place[:-1] != ("axes",)):
        return []
    below = [found for key, child in value.items() for found in places(child, (*place, key))]
    return below if place == ("axes",) else [place, *below]


def at(raw: Any, place: tuple[str | int, ...]) -> Any:
    for key in place:
        raw = raw[key]
    return raw


def test_round_trip(deployment: Deployment) -> None:
    text = dump_deployment(deployment)
    assert parse_deployment(text) == deployment
    assert dump_deployment(parse_deployment(text)) == text
    assert text.endswith("}\n")


def test_numbers_may_be_written_as_integers(raw: Raw) -> None:
    raw["canary_tolerance"] = 1
    parsed = parse(raw)
    assert parsed.canary_tolerance == 1.0
    assert isinstance(parsed.canary_tolerance, float)


def test_fields_with_a_default_may_be_absent(raw: Raw) -> None:
    del raw["notes"], raw["head"]
    parsed = parse(raw)
    assert (parsed.notes, parsed.head) == ({}, {})


def test_every_record_refuses_an_unknown_key(raw: Raw) -> None:
    records = places(raw)
    assert len(records) == 7
    for place in records:
        spoiled = json.loads(json.dumps(raw))
        at(spoiled, place)["surplus"] = 1
        with pytest.raises(ArtifactError, match="unknown key surplus"):
            parse(spoiled)


def test_every_field_of_every_record_is_needed_and_typed(raw: Raw) -> None:
    optional = {"notes", "head", "schema_version"}
    for place in places(raw):
        for key in set(at(raw, place)) - optional:
            spoiled = json.loads(json.dumps(raw))
            del at(spoiled, place)[key]
            with pytest.raises(ArtifactError, match=f"missing key {key}"):
                parse(spoiled)
            at(spoiled, place)[key] = None
            with pytest.raises(ArtifactError, match=rf"\.{key}"):
                parse(spoiled)


def spoil(*place: str | int, value: Any) -> Callable[[Raw], None]:
    def change(raw: Raw) -> None:
        at(raw, place[:-1])[place[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (spoil("version", value=True), "deployment.version: got True, expected int"),
        (spoil("version", value=1.0), "deployment.version: got 1.0, expected int"),
        (spoil("version", value=0), "deployment.version: got 0, expected 1 or more"),
        (spoil("canary_tolerance", value="1"), "deployment.canary_tolerance: got '1', expected a number"),
        (spoil("canary_tolerance", value=True), "expected a number"),
        (spoil("tasks", value="vqa"), "deployment.tasks: got 'vqa', expected a list"),
        (spoil("tasks", 0, value="cook"), "deployment.tasks[0]: got 'cook', expected one of vqa"),
        (spoil("precision", value="fp8"), "'fp8' is none of fp32, fp16, bf16, int8"),
        (spoil("graphs", value={}), "deployment.graphs: got {}, expected a list"),
        (spoil("graphs", 0, value=[]), "deployment.graphs[0]: got [], expected an object"),
        (spoil("graphs", 0, "inputs", 0, "dtype", value="int4"), "dtype 'int4' is none of uint8"),
        (spoil("graphs", 0, "inputs", 0, "shape", value=[]), "axis 0 must be 'batch'"),
        (spoil("graphs", 0, "inputs", 0, "shape", value=["text"]), "axis 0 must be 'batch'"),
        (spoil("graphs", 0, "inputs", 0, "shape", 1, value=2.5), "deployment.graphs[0].inputs[0].shape[1]: got 2.5"),
        (spoil("graphs", 0, "inputs", 0, "shape", 1, value=True), "expected int or str"),
        (spoil("graphs", 0, "files", "3/model.onnx", value=5), "deployment.graphs[0].files.3/model.onnx: got 5"),
        (spoil("axes", "text", "max", value="10"), "deployment.axes.text.max: got '10', expected int"),
        (spoil("axes", "text", "max", value=0), "deployment.axes.text: got min"),
        (spoil("axes", "text", "min", value=0), "deployment.axes.text: got min 0"),
        (spoil("canary_tolerance", value=float("inf")), "deployment.canary_tolerance: got inf, expected a finite"),
        (spoil("canary_tolerance", value=float("nan")), "deployment.canary_tolerance: got nan"),
        (spoil("canary_tolerance", value=-1), "deployment.canary_tolerance: got -1.0"),
        (spoil("image", value=[]), "deployment.image: got [], expected an object"),
        (spoil("source", "id", value=None), "deployment.source.id: got None, expected str"),
        (spoil("name", value="../../etc"), "name '../../etc': letters, digits"),
        (spoil("graphs", 0, "name", value="/etc"), "name '/etc': letters, digits"),
        (spoil("schema_version", value=2), "schema_version 2, this version reads 1"),
        (spoil("schema_version", value=None), "schema_version None"),
    ],
)
def test_faults_name_their_place(change: Callable[[Raw], None], message: str, raw: Raw) -> None:
    change(raw)
    with pytest.raises(ArtifactError) as caught:
        parse(raw)
    assert message in caught.value.message


@pytest.mark.parametrize(("text", "message"), [("", "not JSON"), ("{", "not JSON"), ("[]", "'list'"), ("3", "'int'")])
def test_not_a_manifest(text: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        parse_deployment(text)


def test_a_long_wrong_value_is_cut_in_the_message(raw: Raw) -> None:
    raw["version"] = "x" * 10_000
    with pytest.raises(ArtifactError) as caught:
        parse(raw)
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "1/../../x", "", "1//model.onnx", ".hidden"])
def test_a_file_name_that_leaves_its_folder_is_refused(raw: Raw, path: str) -> None:
    in_graph = json.loads(json.dumps(raw))
    in_graph["graphs"][0]["files"] = {path: "0" * 64}
    in_assets = json.loads(json.dumps(raw))
    in_assets["assets"] = {path: "0" * 64}
    for broken in (in_graph, in_assets):
        with pytest.raises(ArtifactError, match="name"):
            parse(broken)


@pytest.mark.parametrize("bound", ["tolerance", "batch_tolerance"])
def test_an_infinite_bound_proves_nothing(raw: Raw, bound: str) -> None:
    assert parse(raw).proof.holds()
    raw["proof"]["outputs"][0][bound] = float("inf")
    assert not parse(raw).proof.holds()
