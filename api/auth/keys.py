"""API keys: 256 random bits, shown once, stored as their SHA-256.

A fast hash is right here: the bits are random, so unlike a password nobody guesses them from the hash.
"""

from __future__ import annotations

import hashlib
import secrets
from enum import StrEnum

PREFIX = "espo_"
_LENGTH = len(PREFIX) + 43


class Scope(StrEnum):
    """What a key may do."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


def generate() -> str:
    """A new key."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(key: str) -> str:
    """The hash under which the key is stored."""
    return hashlib.sha256(key.encode()).hexdigest()


def is_well_formed(key: str) -> bool:
    """Whether this could be a key at all; saves the database a look-up of nonsense."""
    return key.startswith(PREFIX) and len(key) == _LENGTH and key.isascii()


def display_prefix(key: str) -> str:
    """The start of the key, by which its owner recognises it in a list."""
    return key[: len(PREFIX) + 6]
