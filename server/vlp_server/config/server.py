"""The whole configuration: the records of all owners put together, and the settings of the core made from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlp_server.config.access import AccessConfig
from vlp_server.config.checks import not_over, raise_faults
from vlp_server.config.settings import (
    CoreConfig,
    GrpcConfig,
    HttpConfig,
    LimitsConfig,
    LogConfig,
    ModelsConfig,
    UrlFetchConfig,
)
from vlp_server.core.settings import (
    AdmissionSettings,
    BatchSettings,
    CacheSettings,
    CollectionSettings,
    CoreSettings,
    EngineSettings,
    ModelSettings,
    WatchdogSettings,
)
from vlp_server.engines.registry import ENGINES
from vlp_server.index.settings import StoreSettings

DUMMY_ENGINE = "dummy"
_LAST_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """A server.

    Attributes:
        ready_file: written when the server is ready: JSON with http_host, http_port, pid and, where there is gRPC,
            grpc_host and grpc_port; removed at the end.
    """

    ready_file: Path | None = None
    http: HttpConfig = field(default_factory=HttpConfig)
    grpc: GrpcConfig = field(default_factory=GrpcConfig)
    access: AccessConfig = field(default_factory=AccessConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    url_fetch: UrlFetchConfig = field(default_factory=UrlFetchConfig)
    log: LogConfig = field(default_factory=LogConfig)
    models: ModelsConfig = field(default_factory=ModelsConfig)
    core: CoreConfig = field(default_factory=CoreConfig)
    engine: EngineSettings = field(default_factory=EngineSettings)
    batch: BatchSettings = field(default_factory=BatchSettings)
    admission: AdmissionSettings = field(default_factory=AdmissionSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    watchdog: WatchdogSettings = field(default_factory=WatchdogSettings)
    collections: CollectionSettings = field(default_factory=CollectionSettings)
    store: StoreSettings = field(default_factory=StoreSettings)

    def __post_init__(self) -> None:
        known_engine = self.engine.engine in ENGINES
        dummy_with_repository = self.engine.engine == DUMMY_ENGINE and self.models.repository is not None
        raise_faults(
            [
                not_over(
                    "admission.default_timeout_s",
                    self.admission.default_timeout_s,
                    "http.max_request_timeout_s",
                    self.http.max_request_timeout_s,
                ),
                not_over(
                    "limits.questions", self.limits.questions, "admission.max_queries", self.admission.max_queries
                ),
                not_over("limits.texts", self.limits.texts, "admission.max_queries", self.admission.max_queries),
                None
                if known_engine
                else f"engine.engine: got {self.engine.engine!r}, expected {' or '.join(sorted(ENGINES))}",
                "models.repository: the dummy engine reads none; leave it out, or choose another engine.engine"
                if dummy_with_repository
                else None,
                "grpc.port: there is no port after http.port; name one"
                if self.grpc.enabled and self.grpc_port > _LAST_PORT
                else None,
            ]
        )

    @property
    def grpc_port(self) -> int:
        """The port of the gRPC door, 0 for a free one: beside that of HTTP, so that two servers do not collide."""
        if self.grpc.port is not None:
            return self.grpc.port
        return self.http.port + 1 if self.http.port else 0


@dataclass(frozen=True, slots=True)
class ModelTarget:
    """A model that was found: its reference, and the repository that it lies in (None: the dummy engine)."""

    reference: str
    repository: Path | None


def core_settings(
    config: ServerConfig, targets: Sequence[ModelTarget], default_model: str | None = None
) -> CoreSettings:
    """The core's settings for serving `targets`.

    Args:
        config: the whole configuration.
        targets: the models, found; the first one is the default.
        default_model: reference of another default.

    Raises:
        ConfigError: no target, one twice, or limits for a model that is none of them.
    """
    served = {target.reference.partition("@")[0] for target in targets}
    raise_faults(
        f"models: limits are set for {name!r}, which is not served" for name in config.models.limited_models - served
    )
    dummy_engine = dataclasses.replace(config.engine, engine=DUMMY_ENGINE)
    threads: dict[str, Any] = (
        {"preprocess_threads": config.core.preprocess_threads} if config.core.preprocess_threads else {}
    )
    return CoreSettings(
        models=tuple(
            ModelSettings(
                reference=target.reference,
                repository=target.repository,
                engine=dataclasses.replace(
                    dummy_engine if target.repository is None else config.engine,
                    **config.models.engine_limits(target.reference),
                ),
                batch=config.batch,
            )
            for target in targets
        ),
        default_model=default_model,
        engine=config.engine,
        admission=config.admission,
        cache=config.cache,
        watchdog=config.watchdog,
        collections=config.collections,
        max_image_bytes=config.core.max_image_bytes,
        max_image_pixels=config.core.max_image_pixels,
        max_image_side=config.core.max_image_side,
        # A template with its label is longer than either.
        max_text_chars=max(
            config.limits.question_chars,
            config.limits.answer_chars,
            config.limits.text_chars + config.limits.label_chars,
        ),
        **threads,
    )


def default_store(environ: Mapping[str, str]) -> Path:
    """The user's own repository folder."""
    return _user_data(environ) / "repository"


def default_collections(environ: Mapping[str, str]) -> Path:
    """The user's own folder of collections."""
    return _user_data(environ) / "collections"


def _user_data(environ: Mapping[str, str]) -> Path:
    data_home = environ.get("XDG_DATA_HOME")
    base = Path(data_home) if data_home else Path(environ.get("HOME") or Path.home()) / ".local" / "share"
    return base / "vlpserve"
