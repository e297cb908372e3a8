"""API keys: a file of them, and who may do what with one."""

from __future__ import annotations

import hashlib
import hmac
import logging
from dataclasses import dataclass
from pathlib import Path

from segue.errors import SettingError

SCOPES = ("read", "write")
SHORTEST = 16  # characters of a key
HASHED = "sha256:"
log = logging.getLogger("segue")


@dataclass(frozen=True)
class Key:
    """A key's name, the digest of its text, and what it is good for."""

    name: str
    digest: bytes
    scopes: frozenset[str]


class Keys:
    """The keys of a file, read again when the file changes.

    A line is `name scopes key`: scopes are `read`, `write` or `read,write`, the key is its text, or
    `sha256:` and the hexadecimal SHA-256 of its text. Empty lines and lines that begin with # do not count.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._stamp = self._stat()
        self._keys = read_keys(self.path)

    def refresh(self) -> None:
        """Read the file again if it has changed; one that cannot be used changes nothing."""
        try:
            stamp = self._stat()
            if stamp != self._stamp:
                self._keys, self._stamp = read_keys(self.path), stamp
                log.info("%d keys read from %s", len(self._keys), self.path)
        except SettingError as error:
            log.error("the keys stay as they were: %s", error)

    def scopes(self, authorization: bytes) -> frozenset[str]:
        """Return what an Authorization header is good for: nothing, if it is of no key.

        All keys are compared, each in constant time, so that the time tells nothing of them.
        """
        kind, _, text = authorization.partition(b" ")
        digest = hashlib.sha256(text.strip()).digest()
        found: frozenset[str] = frozenset()
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key.scopes
        return found if kind.lower() == b"bearer" else frozenset()

    def _stat(self) -> tuple[int, int, int]:
        try:
            found = self.path.stat()
        except OSError as error:
            raise SettingError(f"the keys' file cannot be read: {error}") from error
        return found.st_mtime_ns, found.st_size, found.st_ino


def read_keys(path: Path) -> tuple[Key, ...]:
    """Read a file of keys, or raise `SettingError` that names the line, never the key."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"the keys' file {path} cannot be read: {error}") from error
    keys = [
        _key(line.split(), f"line {number} of {path}")
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not keys:
        raise SettingError(f"{path} holds no keys; write lines of `name read,write key`")
    return tuple(keys)


def _key(parts: list[str], where: str) -> Key:
    if len(parts) != 3:
        raise SettingError(f"{where} must be `name scopes key`, three words")
    name, scopes, text = parts
    wrong = set(scopes.split(",")) - set(SCOPES)
    if wrong:
        raise SettingError(f"{where} gives {scopes!r}; the scopes are {', '.join(SCOPES)}, or read,write")
    if text.startswith(HASHED):
        try:
            digest = bytes.fromhex(text.removeprefix(HASHED))
        except ValueError:
            digest = b""
        if len(digest) != 32:
            raise SettingError(f"{where} must give 64 hexadecimal digits after {HASHED}")
    elif len(text) < SHORTEST:
        raise SettingError(f"{where} has a key of {len(text)} characters; at least {SHORTEST} are wanted")
    else:
        digest = hashlib.sha256(text.encode()).digest()
    return Key(name, digest, frozenset(scopes.split(",")))
