"""API keys: a file of keys with their scopes."""

from __future__ import annotations

import hashlib
import hmac
import logging
from dataclasses import dataclass
from pathlib import Path

from segue.errors import SettingError

SCOPES = ("read", "write")
MIN_LENGTH = 16  # characters of a key
HASHED = "sha256:"
log = logging.getLogger("segue")


@dataclass(frozen=True)
class Key:
    """A key: its name, the SHA-256 digest of its text, and its scopes."""

    name: str
    digest: bytes
    scopes: frozenset[str]


class Keys:
    """The keys of a file, which is read again when it changes.

    Each line is `name scopes key`: the scopes are `read`, `write` or `read,write`; the key is its text, or
    `sha256:` followed by the hexadecimal SHA-256 of its text. Empty lines and lines that begin with # are
    ignored.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._stamp = self._stat()
        self._keys = read_keys(self.path)

    def refresh(self) -> None:
        """Read the file again if it has changed; an invalid file is logged and leaves the keys unchanged."""
        try:
            stamp = self._stat()
            if stamp != self._stamp:
                self._keys, self._stamp = read_keys(self.path), stamp
                log.info("%d keys read from %s", len(self._keys), self.path)
        except SettingError as error:
            log.error("the keys are unchanged: %s", error)

    def scopes(self, authorization: bytes) -> frozenset[str]:
        """Return the scopes of an Authorization header; none if it does not contain a known key.

        It compares all keys, each in constant time, so that the time reveals nothing about them.
        """
        scheme, _, text = authorization.partition(b" ")
        digest = hashlib.sha256(text.strip()).digest()
        scopes: frozenset[str] = frozenset()
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                scopes = key.scopes
        return scopes if scheme.lower() == b"bearer" else frozenset()

    def _stat(self) -> tuple[int, int, int]:
        try:
            stat = self.path.stat()
        except OSError as error:
            raise SettingError(f"the key file cannot be read: {error}", arguments=("keys",)) from error
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


def read_keys(path: Path) -> tuple[Key, ...]:
    """Read a key file; raises `SettingError`, which names the line but never the key."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"the key file {path} cannot be read: {error}", arguments=("keys",)) from error
    keys = [
        _parse_key(line.split(), f"line {number} of {path}")
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not keys:
        raise SettingError(f"{path} contains no keys; add lines of the form `name read,write key`")
    return tuple(keys)


def _parse_key(parts: list[str], line: str) -> Key:
    if len(parts) != 3:
        raise SettingError(f"{line} must have three words: `name scopes key`")
    name, scopes, text = parts
    unknown = set(scopes.split(",")) - set(SCOPES)
    if unknown:
        raise SettingError(f"{line} has the scopes {scopes!r}; valid are {', '.join(SCOPES)}, and read,write")
    if text.startswith(HASHED):
        try:
            digest = bytes.fromhex(text.removeprefix(HASHED))
        except ValueError:
            digest = b""
        if len(digest) != 32:
            raise SettingError(f"{line} must have 64 hexadecimal digits after {HASHED}")
    elif len(text) < MIN_LENGTH:
        raise SettingError(f"{line} has a key of {len(text)} characters; use at least {MIN_LENGTH}")
    else:
        digest = hashlib.sha256(text.encode()).digest()
    return Key(name, digest, frozenset(scopes.split(",")))
