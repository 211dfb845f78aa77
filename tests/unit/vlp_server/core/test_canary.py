import numpy as np
import pytest
from vlp_server.core.canary import Canary
from vlp_server.engines.dummy_deployment import build_dummy_canary, build_dummy_deployment
from vlp_spec.errors import ArtifactError


class Engine:
    def __init__(self, result):
        self.result = result

    def run(self, key, feeds):
        if isinstance(self.result, Exception):
            raise self.result
        return {"y": np.asarray(self.result)}


CANARY = Canary.from_arrays({"input.x": np.ones(2), "output.y": np.array([1.0, 2.0])}, 0.01)


def test_what_is_within_the_tolerance_passes():
    CANARY.check(Engine([1.005, 2.0]), "k")
    assert CANARY.inputs.keys() == {"x"}


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ([1.5, 2.0], "off by 0.5"),
        ([float("nan"), 2.0], "off by nan"),
        ([1.0], "has shape"),
        (RuntimeError("x"), "failed on its known inputs"),
    ],
)
def test_everything_else_does_not(result, message):
    with pytest.raises(ArtifactError, match=message):
        CANARY.check(Engine(result), "k")


def test_a_canary_needs_inputs_and_outputs():
    with pytest.raises(ArtifactError, match="expected input"):
        Canary.from_arrays({"input.x": np.ones(2)}, 0.01)


def test_each_graph_takes_the_arrays_of_its_own_names():
    deployment = build_dummy_deployment("dummy-encoder")
    canary = Canary(*build_dummy_canary(deployment), 0.0)
    part = canary.part(deployment.graph("text"))
    assert set(part.inputs) == {"input_ids", "text_mask"}
    assert set(part.outputs) == {"text_embeds"}
    without = Canary({"patches": canary.inputs["patches"]}, canary.outputs, 0.0)
    with pytest.raises(ArtifactError, match="no input grid for graph 'image'"):
        without.part(deployment.graph("image"))
    with pytest.raises(ArtifactError, match="no output of graph 'text'"):
        Canary(canary.inputs, {"image_embeds": canary.outputs["image_embeds"]}, 0.0).part(deployment.graph("text"))
