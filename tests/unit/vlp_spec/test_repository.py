from collections.abc import Callable
from pathlib import Path

import pytest
from vlp_spec.deployment import GraphRef
from vlp_spec.errors import ArtifactError
from vlp_spec.repository import RepositoryLayout

LAYOUT = RepositoryLayout(Path("/repo"))


def test_where_things_lie(graph: GraphRef) -> None:
    assert LAYOUT.manifest("m", 2) == Path("/repo/deployments/m/2.json")
    assert LAYOUT.assets("m", 2) == Path("/repo/deployments/m/2")
    assert LAYOUT.graph_dir("g") == Path("/repo/model_repository/g")
    assert LAYOUT.graph_file(graph, "model.onnx") == Path("/repo/model_repository/tiny-fp32/3/model.onnx")


@pytest.mark.parametrize("name", ["..", "../../etc", "/etc", "a/../b", ""])
@pytest.mark.parametrize(
    "find", [lambda name: LAYOUT.manifest(name, 1), lambda name: LAYOUT.assets(name, 1), LAYOUT.graph_dir]
)
def test_no_name_leads_out_of_it(find: Callable[[str], Path], name: str) -> None:
    with pytest.raises(ArtifactError):
        find(name)
