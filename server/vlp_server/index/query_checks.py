"""What every store checks of a search before it searches."""

from __future__ import annotations

from vlp_spec.errors import InvalidArgumentError

from vlp_server.index.collection_rows import check_encoder
from vlp_server.index.settings import StoreSettings
from vlp_server.index.store import CollectionSpec, SearchQuery, Vector
from vlp_server.index.vectors import prepare_vector

MAX_EF_SEARCH = 10_000
MAX_NPROBE = 1_000_000


def check_query(query: SearchQuery, spec: CollectionSpec, settings: StoreSettings) -> Vector:
    """The vector as it is to be compared.

    Raises:
        InvalidArgumentError: k, effort or vector out of range.
        EncoderMismatchError: the vector comes from another encoder than the collection's.
    """
    check_encoder(spec, query.encoder_digest)
    for name, value, high in (
        ("k", query.k, settings.max_k),
        ("ef_search", query.effort.ef_search, MAX_EF_SEARCH),
        ("nprobe", query.effort.nprobe, MAX_NPROBE),
    ):
        if value is None and name != "k":
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= high:
            raise InvalidArgumentError(f"{name}: got {value!r}, expected a whole number from 1 to {high}", field=name)
    return prepare_vector(query.vector, spec.dimension, spec.metric)
