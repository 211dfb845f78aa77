"""Which role each method needs. The one table; what is not in it needs the highest role.

A method that was forgotten here is so closed to all but admins; a test holds the table against the methods that there
are. The changes of models are left out on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping

from vlp_server.access.keys import Role

_READ = {
    "VisionLanguage": (
        "Vqa",
        "Classify",
        "Entailment",
        "Caption",
        "StreamCaption",
        "Match",
        "Reasoning",
        "Grounding",
        "Regions",
        "Embed",
    ),
    "Collections": ("GetCollection", "ListCollections", "LookupItems", "GetItem", "GetItemPicture", "Search"),
    "Models": ("ListModels",),
}
_WRITE = {"Collections": ("CreateCollection", "DeleteCollection", "AddItems", "DeleteItem")}


def _paths(methods: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    return frozenset(f"/vlp.v1.{service}/{name}" for service, names in methods.items() for name in names)


_OIP = (
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelInfer",
    "ModelStreamInfer",
    "ModelConfig",
    "ModelStatistics",
    "RepositoryIndex",
)
_READING = _paths(_READ) | {f"/inference.GRPCInferenceService/{name}" for name in _OIP}
_WRITING = _paths(_WRITE)


def role_of(method: str) -> Role:
    """The role that a method needs.

    Args:
        method: /package.Service/Name.
    """
    if method in _READING:
        return Role.READ
    return Role.WRITE if method in _WRITING else Role.ADMIN
