"""Marks of tests of the API."""

from __future__ import annotations

import pytest

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For a refusal that no query comes before: once is enough."""
