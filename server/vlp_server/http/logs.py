"""Sets up the log of a server process. Called once by the process that serves, never at import."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from vlp_spec.errors import ConfigError

from vlp_server.config.settings import LogConfig, LogFormat
from vlp_server.http.access_lines import AccessLines
from vlp_server.intake.access_log import ACCESS_LOGGER


class TextFormatter(logging.Formatter):
    """Time, level, name and message; further fields as name=value."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the stack of an exception under it."""
        fields = getattr(record, "fields", None) or {}
        text = super().format(record)
        return " ".join([text, *(f"{name}={value}" for name, value in fields.items() if value is not None)])


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, name, message, further fields, and the stack of an exception."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **(getattr(record, "fields", None) or {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up_logs(config: LogConfig) -> None:
    """Send the log of the whole process to standard error in the configured form, and that of accesses to its place.

    Raises:
        ConfigError: the file of the access log cannot be opened.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if config.format is LogFormat.JSON else TextFormatter())
    logging.basicConfig(level=config.level.upper(), handlers=[handler], force=True)
    # Other people's chatter about every connection is not news at our "info".
    for name in ("httpx", "httpcore", "uvicorn"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    # A line for every broken request is the access log's, and not for callers to fill this one with.
    logging.getLogger("uvicorn.error").setLevel(max(logging.ERROR, logging.getLogger().level))
    if config.access:
        _set_up_access_log(config)


def _set_up_access_log(config: LogConfig) -> None:
    try:
        lines = AccessLines(config.access_file)
    except OSError as error:
        raise ConfigError([f"log.access_file: cannot write {config.access_file} ({error.strerror})"]) from error
    logger = logging.getLogger(ACCESS_LOGGER)
    # Whoever wants this log wants it whatever the level of the other one.
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [lines]
