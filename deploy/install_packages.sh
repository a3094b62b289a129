#!/bin/sh
# Inside the image's build: install_packages.sh REQUIREMENTS [PIP OPTION ...] fills /opt/venv, the lock file deciding the
# versions. Wheels in /wheelhouse mean that nothing is downloaded.
set -eu
requirements=$1
shift
python3 -m venv /opt/venv
if ls /wheelhouse/*.whl >/dev/null 2>&1; then
    set -- --no-index --find-links /wheelhouse "$@"
fi
/opt/venv/bin/python -m pip install --disable-pip-version-check --root-user-action ignore \
    -c /build/requirements.lock -r "$requirements" "$@"
