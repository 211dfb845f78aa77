"""What can be set, as frozen records by owner. Each checks itself; reading them from anywhere is the loader's work.

The text of every attribute is also what `vlpserve config check` and docs/configuration.md say about it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from vlp_pipeline.images import MAX_PIXELS

from vlp_server.config.checks import between, raise_faults

_DAY_S = 86_400.0
_GIB = 1024**3
# As a browser sends it: a host's name or address in lower case, and a port that is not the scheme's own.
_ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


class LogLevel(StrEnum):
    """From which weight on a line is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How a log line looks."""

    TEXT = "text"
    JSON = "json"


class ClientAddress(StrEnum):
    """How the access log names a client: by its address, by a hash that lasts as long as the process, or not at all."""

    PLAIN = "plain"
    HASHED = "hashed"
    OMITTED = "omitted"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpConfig:
    """The HTTP door.

    Attributes:
        host: address to listen on; 0.0.0.0 opens the server to the network.
        port: port to listen on; 0 takes a free one.
        body_limit_bytes: largest body of a request, and most bytes of pictures that are fetched for one; base64 in JSON
            makes a picture a third larger.
        body_timeout_s: time for a whole body to arrive.
        write_timeout_s: how long a client may leave an answer unread that waits to be sent.
        header_timeout_s: time for the headers of a request to arrive.
        header_limit_bytes: largest request line and headers together.
        header_limit: headers of a request, at most.
        keep_alive_s: how long an idle connection stays open.
        max_request_timeout_s: longest deadline that X-Request-Timeout-Ms may name.
        max_connections: open connections; one more is answered 503, but for /livez and /readyz, and many more are
            closed unanswered. Each takes a file of the process, see `ulimit -n`.
        max_in_flight: requests being read or answered at once; more are refused before their body is read.
        max_in_flight_bytes: bytes of bodies and fetched pictures that those requests hold; one that would need more is
            refused as its bytes arrive, unless it is alone.
        drain_timeout_s: after SIGTERM, how long running requests may take to finish.
        cors_origins: web origins whose pages may call this server, such as https://example.org; none by default; * is
            every one.
        cors_credentials: whether those pages may send the cookies and passwords that their browser has for this server,
            or for what stands before it; API keys need no such leave. Not with *.
        cors_max_age_s: how long a browser may keep what it was told about an origin.
        admin: whether /v1/admin/ answers though nobody is asked for a key; with keys it always answers.
        admin_timeout_s: how long a call of /v1/admin/ that names no deadline waits for a model to come or go.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    body_limit_bytes: int = 28 * 1024 * 1024
    body_timeout_s: float = 60.0
    write_timeout_s: float = 60.0
    header_timeout_s: float = 10.0
    header_limit_bytes: int = 64 * 1024
    header_limit: int = 100
    keep_alive_s: float = 15.0
    max_request_timeout_s: float = 300.0
    max_connections: int = 1000
    max_in_flight: int = 512
    max_in_flight_bytes: int = _GIB // 2
    drain_timeout_s: float = 30.0
    cors_origins: tuple[str, ...] = ()
    cors_credentials: bool = False
    cors_max_age_s: float = 600.0
    admin: bool = False
    admin_timeout_s: float = 600.0

    def __post_init__(self) -> None:
        raise_faults(
            [
                None if self.host else "host: empty; 127.0.0.1 for this machine alone, 0.0.0.0 for the network",
                between("port", self.port, 0, 65535),
                between("body_limit_bytes", self.body_limit_bytes, 1, _GIB),
                between("body_timeout_s", self.body_timeout_s, 0.01, _DAY_S),
                between("write_timeout_s", self.write_timeout_s, 0.01, _DAY_S),
                between("header_timeout_s", self.header_timeout_s, 0.01, _DAY_S),
                between("header_limit_bytes", self.header_limit_bytes, 256, 16 * 1024 * 1024),
                between("header_limit", self.header_limit, 4, 10_000),
                between("max_connections", self.max_connections, 1, 1_000_000),
                between("keep_alive_s", self.keep_alive_s, 0, _DAY_S),
                between("max_request_timeout_s", self.max_request_timeout_s, 0.001, _DAY_S),
                between("max_in_flight", self.max_in_flight, 1, 1_000_000),
                between("max_in_flight_bytes", self.max_in_flight_bytes, 1, 1024 * _GIB),
                between("drain_timeout_s", self.drain_timeout_s, 0, _DAY_S),
                between("admin_timeout_s", self.admin_timeout_s, 0.001, _DAY_S),
                between("cors_max_age_s", self.cors_max_age_s, 0, _DAY_S),
                *(self._origin_fault(origin) for origin in self.cors_origins),
                "cors_origins: * is every origin already; name it alone"
                if "*" in self.cors_origins and len(self.cors_origins) > 1
                else None,
                "cors_credentials: not with cors_origins = *, or every page could use what a browser holds; name the "
                "origins"
                if self.cors_credentials and "*" in self.cors_origins
                else None,
            ]
        )

    @staticmethod
    def _origin_fault(origin: str) -> str | None:
        if origin == "*" or _ORIGIN.fullmatch(origin):
            return None
        return f"cors_origins: got {origin!r}, expected scheme://host[:port] with no path, in lower case, or *"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcConfig:
    """The gRPC door. What http.* says of requests at once, their bytes and their times counts for both doors.

    Attributes:
        enabled: whether there is one.
        host: address to listen on; 0.0.0.0 opens the server to the network.
        port: port to listen on; none: the one after http.port, or a free one where that is 0.
        max_message_bytes: largest message; a client may have a lower limit of its own for answers (4 MiB mostly).
        tls_certificate: PEM file of the server's certificate and those that lead to its authority; none: no TLS.
        tls_key: PEM file of its private key.
        tls_client_ca: PEM file of the authorities whose clients may call; none: no certificate is asked of clients.
        reflection: whether clients can ask which methods there are, without a key.
        max_connections: open connections; more are closed at once. Each takes a file of the process, see `ulimit -n`.
        idle_timeout_s: how long a connection without calls stays open; clients connect anew by themselves.
        keep_alive_s: after so much silence on a connection the server asks whether its client is still there.
        keep_alive_timeout_s: how long it waits for the answer.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int | None = None
    max_message_bytes: int = 28 * 1024 * 1024
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    reflection: bool = True
    max_connections: int = 1000
    idle_timeout_s: float = 300.0
    keep_alive_s: float = 60.0
    keep_alive_timeout_s: float = 20.0

    def __post_init__(self) -> None:
        both = (self.tls_certificate is None) == (self.tls_key is None)
        raise_faults(
            [
                None if self.host else "host: empty; 127.0.0.1 for this machine alone, 0.0.0.0 for the network",
                None if self.port is None else between("port", self.port, 0, 65535),
                between("max_message_bytes", self.max_message_bytes, 1024, _GIB),
                None if both else "tls_certificate, tls_key: TLS needs both",
                "tls_client_ca: needs tls_certificate and tls_key"
                if self.tls_client_ca is not None and self.tls_certificate is None
                else None,
                between("max_connections", self.max_connections, 1, 1_000_000),
                between("idle_timeout_s", self.idle_timeout_s, 1, _DAY_S),
                between("keep_alive_s", self.keep_alive_s, 1, _DAY_S),
                between("keep_alive_timeout_s", self.keep_alive_timeout_s, 0.1, _DAY_S),
            ]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsConfig:
    """What one call may ask.

    Attributes:
        questions: questions about one picture in a call.
        question_chars: characters of one question.
        answers: answers in a closed list.
        answer_chars: characters of one answer of a closed list.
        labels: labels of a classification.
        label_chars: characters of one label.
        templates: templates of a classification.
        texts: texts that are matched with a picture in a call; also hypotheses, statements or phrases.
        text_chars: characters of one of these, or of a text that is embedded or searched by.
        regions: regions that are sent in the place of a picture.
        inputs: texts and pictures that are embedded in a call.
        hits: hits of a search.
        multipart_parts: parts of a multipart body, fields and files together.
    """

    questions: int = 64
    question_chars: int = 4096
    answers: int = 1000
    answer_chars: int = 256
    labels: int = 1000
    label_chars: int = 256
    templates: int = 100
    texts: int = 64
    text_chars: int = 4096
    regions: int = 100
    inputs: int = 2048
    hits: int = 1000
    multipart_parts: int = 1100

    def __post_init__(self) -> None:
        raise_faults(
            [
                between("questions", self.questions, 1, 10_000),
                between("question_chars", self.question_chars, 1, 1_000_000),
                between("answers", self.answers, 1, 100_000),
                between("answer_chars", self.answer_chars, 1, 100_000),
                between("labels", self.labels, 1, 100_000),
                between("label_chars", self.label_chars, 1, 100_000),
                between("templates", self.templates, 1, 1000),
                between("texts", self.texts, 1, 10_000),
                between("text_chars", self.text_chars, 1, 1_000_000),
                between("regions", self.regions, 1, 1000),
                between("inputs", self.inputs, 1, 100_000),
                between("hits", self.hits, 1, 16_384),
                between("multipart_parts", self.multipart_parts, 2, 1_000_000),
            ]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlFetchConfig:
    """Fetching pictures that a caller names by URL. Off: it makes this server send requests for strangers.

    Attributes:
        enabled: whether "image" may be an http(s) URL; addresses that are not public are refused in any case.
        timeout_s: for the whole fetch, redirects included.
        max_bytes: largest picture that is fetched.
        max_redirects: redirects followed; every hop is checked anew.
        ports: ports that may be connected to.
    """

    enabled: bool = False
    timeout_s: float = 10.0
    max_bytes: int = 20 * 1024 * 1024
    max_redirects: int = 3
    ports: tuple[int, ...] = (80, 443)

    def __post_init__(self) -> None:
        raise_faults(
            [
                between("timeout_s", self.timeout_s, 0.01, 3600),
                between("max_bytes", self.max_bytes, 1, _GIB),
                between("max_redirects", self.max_redirects, 0, 20),
                *(between("ports", port, 1, 65535) for port in self.ports),
                "ports: empty, though fetching is enabled" if self.enabled and not self.ports else None,
            ]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """The log, on standard error, and the access log.

    Attributes:
        level: debug, info, warning or error.
        format: text or json.
        access: the access log: a line of JSON for each request; never with keys, answers, pictures or paths as sent.
        access_file: file that it is written to, which may be moved away at any time; -: standard output; none: standard
            error.
        client: how it names the client's address: plain, hashed (the same as long as the process lives) or omitted.
        questions: whether it has what callers ask in their own words: questions, labels, texts and prompts.
        question_chars: characters of each of these at most; the rest is cut off.
    """

    level: LogLevel = LogLevel.INFO
    format: LogFormat = LogFormat.TEXT
    access: bool = False
    access_file: Path | None = None
    client: ClientAddress = ClientAddress.PLAIN
    questions: bool = False
    question_chars: int = 200

    def __post_init__(self) -> None:
        raise_faults([between("question_chars", self.question_chars, 1, 10_000)])


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsConfig:
    """Which models are served, and where they lie.

    Attributes:
        serve: deployment names, checkpoint directories or hub ids; none: every deployment of `repository`, or without
            one every model that the package ships.
        default: the model that answers a request which names none; none: the first one.
        repository: a folder with model_repository/ and deployments/, whose models can be named in `serve`.
        store: where models that are exported on first use are kept; none: vlpserve/repository in the user's data
            folder ($XDG_DATA_HOME, or ~/.local/share).
        threads: engine.threads of single models, each as NAME=NUMBER, NAME being the model's without its version.
        memory_limit_bytes: engine.memory_limit_bytes of single models, each as NAME=NUMBER.
    """

    serve: tuple[str, ...] = ()
    default: str | None = None
    repository: Path | None = None
    store: Path | None = None
    threads: tuple[str, ...] = ()
    memory_limit_bytes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        twice = sorted({name for name in self.serve if self.serve.count(name) > 1})
        raise_faults(
            [
                "serve: an empty name" if not all(self.serve) else None,
                f"serve: {', '.join(twice)} is given twice" if twice else None,
                f"default: {self.default!r} is not among the models of serve"
                if self.default is not None and self.serve and self.default not in self.serve
                else None,
                *(_pair_fault("threads", pair) for pair in self.threads),
                *(_pair_fault("memory_limit_bytes", pair) for pair in self.memory_limit_bytes),
            ]
        )

    @property
    def limited_models(self) -> set[str]:
        """Names of all models with limits of their own."""
        return {pair.rpartition("=")[0] for pair in (*self.threads, *self.memory_limit_bytes)}

    def engine_limits(self, reference: str) -> dict[str, Any]:
        """The engine's settings that this model has of its own: field -> value."""
        name = reference.partition("@")[0]
        tables = {"threads": self.threads, "memory_limit_bytes": self.memory_limit_bytes}
        own = {field: dict(pair.rsplit("=", 1) for pair in pairs).get(name) for field, pairs in tables.items()}
        return {field: int(value) for field, value in own.items() if value is not None}


def _pair_fault(name: str, pair: str) -> str | None:
    model, _, number = pair.rpartition("=")
    if model and number.isascii() and number.isdigit():
        return None
    return f"{name}: got {pair!r}, expected NAME=NUMBER"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreConfig:
    """Pictures on their way to a model.

    Attributes:
        preprocess_threads: threads that decode pictures and tokenise questions; 0: one for every CPU.
        max_image_bytes: largest encoded picture.
        max_image_pixels: largest width x height of a picture, read from its header before decoding.
        max_image_side: longest side of a picture in pixels.
    """

    preprocess_threads: int = 0
    max_image_bytes: int = 20 * 1024 * 1024
    max_image_pixels: int = 50_000_000
    max_image_side: int = 16384

    def __post_init__(self) -> None:
        raise_faults(
            [
                between("preprocess_threads", self.preprocess_threads, 0, 1024),
                between("max_image_bytes", self.max_image_bytes, 1, _GIB),
                between("max_image_pixels", self.max_image_pixels, 1, MAX_PIXELS),
                between("max_image_side", self.max_image_side, 1, 1_000_000),
            ]
        )
