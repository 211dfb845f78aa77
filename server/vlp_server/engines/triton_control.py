"""The secret that opens a Triton server's protocols of control to those who manage its models.

Whoever may load a model there may send its code along, so those protocols are shut: tritonserver wants a header with
the secret on each call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from vlp_spec.errors import ConfigError

CONTROL_SECRET_VARIABLE = "VLPSERVE_TRITON_CONTROL_SECRET"
"""Where `vlpserve triton` finds the secret when no file is named."""
CONTROL_HEADER = "vlpserve-control"
"""What the header is called over HTTP."""
_GRPC_PREFIX = "triton-grpc-protocol-"
# tritonserver cuts its argument at commas, colons and equals signs, and a header carries no spaces at its ends.
_SECRET = re.compile(r"[A-Za-z0-9_-]{16,256}")


def checked_secret(text: str, source: str) -> str:
    """A secret without the white space around it.

    Args:
        source: where it comes from, for the message; the secret is in none.

    Raises:
        ConfigError: it is too short or too long, or has characters that tritonserver would misread.
    """
    secret = text.strip()
    if not _SECRET.fullmatch(secret):
        raise ConfigError(
            [
                f"{source}: expected a secret of 16 to 256 letters, digits, dashes and underscores; "
                "`openssl rand -hex 32` makes one"
            ]
        )
    return secret


def read_secret(file: Path) -> str:
    """The secret that a file holds, and nothing else.

    Raises:
        ConfigError: the file cannot be read, or holds none.
    """
    try:
        text = file.read_text(encoding="ascii")
    except OSError as error:
        raise ConfigError([f"{file}: cannot be read ({error.strerror})"]) from error
    except ValueError:
        text = ""
    return checked_secret(text, str(file))


def secret_of(file: Path | None, environ: Mapping[str, str]) -> str | None:
    """The secret of a file, else of the environment; None where there is neither.

    Raises:
        ConfigError: as `read_secret`; an empty variable counts as a bad secret.
    """
    if file is not None:
        return read_secret(file)
    text = environ.get(CONTROL_SECRET_VARIABLE)
    return None if text is None else checked_secret(text, CONTROL_SECRET_VARIABLE)


def control_metadata(file: Path | None) -> dict[str, str]:
    """What a gRPC call of control sends along; read anew each time, so that a new secret needs no restart.

    Raises:
        ConfigError: as `read_secret`.
    """
    return {} if file is None else {_GRPC_PREFIX + CONTROL_HEADER: read_secret(file)}
