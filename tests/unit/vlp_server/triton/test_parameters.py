from pathlib import Path

from triton_backend import model_arguments
from vlp_server.triton.parameters import parameters_of, repository_of


def test_parameters_of_the_configuration_are_plain_texts(tmp_path: Path) -> None:
    arguments = model_arguments(tmp_path, "g", deployment="m", threads="2")
    assert parameters_of(arguments) == {"deployment": "m", "threads": "2"}
    assert parameters_of({"model_config": "{}"}) == {}


def test_the_repository_is_where_models_and_deployments_lie_side_by_side(tmp_path: Path) -> None:
    assert repository_of(model_arguments(tmp_path, "g")) == tmp_path
