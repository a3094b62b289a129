"""The mark of tests that need TRL and verl."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "peers: needs TRL and verl (make test-peers)")
