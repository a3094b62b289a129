"""Whether the store keeps what it is given, and whether there is a model to train."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from api.catalogue.models import list_models
from api.settings import Settings
from api.store.store import open_store
from espo_contracts.finding import Finding, fail, ok, warn


def examine_store(settings: Settings) -> list[Finding]:
    """A finding after something was written, read and deleted."""
    where = settings.store_url
    if "://" not in where and not Path(where).exists():
        return [ok("store", f"{where} is not there yet; the first start makes it")]
    try:
        with tempfile.TemporaryDirectory(prefix="espo-doctor-") as folder:
            is_same = _write_and_read(where, Path(folder))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        hint = "Check ESPO_STORE_URL, the rights on it, and the space that is left."
        return [fail("store", f"{where} cannot be used: {type(error).__name__}: {error}", hint)]
    if not is_same:
        return [fail("store", f"{where} gives back other bytes than it was given", "Do not use this store.")]
    return [ok("store", f"{where}: written, read and deleted")]


def _write_and_read(url: str, folder: Path) -> bool:
    content = os.urandom(64 << 10)
    sha256 = hashlib.sha256(content).hexdigest()
    (folder / sha256).write_bytes(content)
    store = open_store(url)
    store.adopt(folder / sha256, sha256)
    try:
        return store.read(sha256, 0, len(content)) == content
    finally:
        store.delete(sha256)


def examine_models(settings: Settings) -> list[Finding]:
    """A finding about the models that jobs may name."""
    names = [facts.name for facts in list_models(settings.model_path)]
    if names:
        return [ok("models", f"{len(names)} found: {', '.join(names[:5])}")]
    if settings.allow_hub:
        return [ok("models", "none in ESPO_MODEL_PATH; jobs may name those of the hub")]
    hint = "Put a folder with config.json and *.safetensors into one of them, or set ESPO_ALLOW_HUB=true."
    return [warn("models", f"none in {settings.model_path}: no job is valid", hint)]
