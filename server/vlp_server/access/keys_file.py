"""The keys file: one key a line, # begins a comment. Read with care, changed whole or not at all.

Who can write the file can give themselves a key, so one that its group or all may write is refused. Who can read it
learns names and roles, and of the keys nothing that helps: that all may read it is worth a warning and no more,
because secrets that are mounted into containers often look so.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from vlp_spec.errors import ConfigError
from vlp_spec.files import sync_path

from vlp_server.access.keys import AccessKey, KeyEntry, parse_keys

logger = logging.getLogger(__name__)

MAX_BYTES = 1024 * 1024
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_NEW_MODE = 0o600


def read_entries(path: Path) -> tuple[KeyEntry, ...]:
    """The lines that hold a key, with where they are.

    Raises:
        ConfigError: it cannot be read, is no plain file of text, is too large, or others may write it.
    """
    text, mode = _read(path)
    if mode & stat.S_IROTH:
        logger.warning("%s can be read by every user of this machine; chmod o-r it", path)
    return _entries(path, text)


def add_key(path: Path, key: AccessKey) -> None:
    """Append a key's line to a keys file, which is made (mode 0600) where there is none.

    Raises:
        ConfigError: the file is not as it should be, has this name already, or cannot be written.
    """

    def add(text: str) -> str:
        grown = f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{key.line}\n"
        parse_keys(_entries(path, grown))
        return grown

    _change(path, add)


def remove_key(path: Path, name: str) -> None:
    """Take the line of a key out of a keys file; comments and all other lines stay as they are.

    Raises:
        ConfigError: the file is not as it should be, has no such name, or cannot be written.
    """

    def remove(text: str) -> str:
        if name not in {key.name for key in parse_keys(_entries(path, text))}:
            raise ConfigError([f"{path}: there is no key of this name; `vlpserve keys list` shows all"])
        lines = text.splitlines(keepends=True)
        return "".join(line for line in lines if line.partition("#")[0].partition(":")[0].strip() != name)

    _change(path, remove, must_exist=True)


def _entries(path: Path, text: str) -> tuple[KeyEntry, ...]:
    lines = ((number, line.partition("#")[0].strip()) for number, line in enumerate(text.splitlines(), 1))
    return tuple(KeyEntry(f"{path}, line {number}", line) for number, line in lines if line)


def _read(path: Path) -> tuple[str, int]:
    """Text and mode of a keys file that may be used."""
    try:
        # Not blocking: a pipe in the place of the file must not hold up the server.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            state = os.fstat(handle)
            if not stat.S_ISREG(state.st_mode):
                raise ConfigError([f"{path}: expected a plain file of keys"])
            with open(handle, "rb", closefd=False) as stream:
                data = stream.read(MAX_BYTES + 1)
        finally:
            os.close(handle)
    except OSError as error:
        raise ConfigError([f"{path}: the keys file cannot be read ({error.strerror})"]) from error
    if state.st_mode & _WRITABLE_BY_OTHERS:
        raise ConfigError([f"{path}: other users may write it, and so give themselves keys; chmod go-w it"])
    if len(data) > MAX_BYTES:
        raise ConfigError([f"{path}: over {MAX_BYTES} bytes; this is no keys file"])
    try:
        return data.decode("utf-8"), stat.S_IMODE(state.st_mode)
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: not text in UTF-8"]) from None


def _change(path: Path, change: Callable[[str], str], *, must_exist: bool = False) -> None:
    """Put a changed text in the place of a keys file's, so that a reader meets the old one or the new one.

    Owner and mode stay, because the server that reads the file may be another user than who changes it.
    """
    # The file itself is replaced, not a link to it.
    target = Path(os.path.realpath(path))
    with _told(path), _alone(target.parent):
        exists = must_exist or target.exists()
        text, mode = _read(target) if exists else ("", _NEW_MODE)
        changed = change(text)
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _NEW_MODE)
            with open(handle, "w", encoding="utf-8", newline="") as stream:
                if exists:
                    _keep_owner(handle, os.stat(target))
                    os.fchmod(handle, mode)
                stream.write(changed)
            sync_path(partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        sync_path(target.parent)


def _keep_owner(handle: int, old: os.stat_result) -> None:
    now = os.fstat(handle)
    if (now.st_uid, now.st_gid) != (old.st_uid, old.st_gid):
        os.fchown(handle, old.st_uid, old.st_gid)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError([f"{path}: the keys file cannot be written ({error.strerror})"]) from error


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One change at a time: of two at once, the second would undo the first."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
