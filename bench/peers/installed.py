"""Where the peers are installed: beside the environment, which they would otherwise change."""

import importlib
import importlib.metadata
import sys
import warnings
from pathlib import Path
from typing import Any

FOLDER = Path(sys.prefix) / "peers"
"""Filled by `make test-peers` from requirements-peers.lock; .venv/peers in a checkout."""

PEERS = ("trl", "verl")


def missing() -> str | None:
    """Which peers are not installed and what installs them; None where all are there."""
    absent = [name for name in PEERS if version(name) is None]
    return f"{' and '.join(absent)} not installed: make test-peers installs them" if absent else None


def version(peer: str) -> str | None:
    """The installed version of a peer, None where it is not installed."""
    _extend_path()
    try:
        return importlib.metadata.version(peer)
    except importlib.metadata.PackageNotFoundError:
        return None


def load(module: str) -> Any:
    """A module of a peer, whatever it warns about on import."""
    _extend_path()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(module)


def _extend_path() -> None:
    # Last, so that what both hold is imported from the environment.
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
