import inspect

import pytest
from vlp_spec import errors
from vlp_spec.errors import ErrorKind, VlpError

CLASSES = [value for _, value in inspect.getmembers(errors, inspect.isclass) if issubclass(value, VlpError)]
# Those that others derive for themselves have the kind of their branch here.
LEAVES = [kind for kind in CLASSES if not set(kind.__subclasses__()) & set(CLASSES)]


def make(kind: type[VlpError]) -> VlpError:
    if kind is errors.InternalError:
        return errors.InternalError(detail="secret")
    if kind is errors.ConfigError:
        return errors.ConfigError(["a: wrong", "b: wrong"])
    return kind("what, got, expected", detail="secret")


def test_every_kind_has_exactly_one_leaf() -> None:
    assert sorted(leaf.kind for leaf in LEAVES) == sorted(ErrorKind)


def test_the_tree_at_the_top_of_the_module_is_complete() -> None:
    drawn = errors.__doc__ or ""
    for leaf in LEAVES:
        assert f"─ {leaf.__name__} " in drawn
        assert f" {leaf.kind} " in drawn.replace("\n", " \n")
    assert drawn.count("─ ") == len(CLASSES) - 1


@pytest.mark.parametrize(
    ("parent", "names"),
    [
        (
            errors.RequestError,
            "invalid_argument invalid_image unsupported_media_type too_large "
            "model_not_found task_not_supported cancelled collection_not_found item_not_found collection_exists "
            "encoder_mismatch no_pictures no_extractor unauthenticated permission_denied model_conflict",
        ),
        (errors.CapacityError, "overloaded rate_limited unavailable deadline_exceeded storage_full"),
        (errors.StartupError, "config artifact proof"),
    ],
)
def test_branches(parent: type[VlpError], names: str) -> None:
    assert {leaf.kind for leaf in LEAVES if issubclass(leaf, parent)} == set(names.split())


@pytest.mark.parametrize("kind", CLASSES)
def test_the_message_is_the_text_and_the_detail_stays_out_of_it(kind: type[VlpError]) -> None:
    error = make(kind)
    assert str(error) == error.message
    assert "secret" not in str(error)
    assert isinstance(error.kind, ErrorKind)


def test_fields_of_single_errors() -> None:
    assert errors.InvalidArgumentError("x", field="top_k").field == "top_k"
    assert errors.InvalidArgumentError("x").field is None
    assert errors.OverloadedError("x").retry_after_s == 1.0
    assert errors.DeadlineError("x", retry_after_s=2.5).retry_after_s == 2.5
    assert errors.ConfigError(["a", "b"]).faults == ("a", "b")
    assert errors.InternalError(detail="why").detail == "why"
    assert "why" not in errors.InternalError(detail="why").message
