#!/bin/sh
# Fills deploy/wheelhouse/ with the wheels that the images need, so that `docker build` works without a network.
# They are downloaded with this machine's pip and its settings, for the Python of the images (PYTHON_VERSION).
# async-timeout is what redis needs before Python 3.11.3, such as in Debian 12: pip judges such a condition by the
# Python that it runs on, not by the image's.
set -eu
cd "$(dirname "$0")/.."
rm -f deploy/wheelhouse/*.whl
"${PYTHON:-.venv/bin/python}" -m pip download --disable-pip-version-check -qq \
    --python-version "${PYTHON_VERSION:-3.11}" --only-binary=:all: --dest deploy/wheelhouse \
    -c requirements.lock -r deploy/requirements-api.txt -r deploy/requirements-worker.txt async-timeout "$@"
# Two of these come as source only; both are plain Python, so that a wheel made here fits the image.
"${PYTHON:-.venv/bin/python}" -m pip wheel --disable-pip-version-check -qq --no-deps --wheel-dir deploy/wheelhouse \
    -r requirements-gym.lock
