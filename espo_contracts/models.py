"""Where models lie: folders of the operator's model path, found by name and never by a user's path."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


def model_folders(model_path: str) -> Iterator[Path]:
    """Every model folder of a PATH-like list of directories; the first of a name wins."""
    seen = set()
    for directory in filter(None, model_path.split(os.pathsep)):
        for folder in sorted(Path(directory).glob("*/config.json")):
            name = folder.parent.name
            if name not in seen and _NAME.fullmatch(name):
                seen.add(name)
                yield folder.parent


def find_model(name: str, model_path: str) -> Path | None:
    """The folder of the model of this name, or None."""
    return next((folder for folder in model_folders(model_path) if folder.name == name), None)
