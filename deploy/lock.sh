#!/bin/sh
# Resolves pyproject.toml into the lock files, in a fresh environment of the oldest Python that we support: what
# installs there installs on newer ones. torch's CUDA libraries are left out: pip brings them where torch's own
# build asks for them, and a CPU build needs none.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3.11}" -m venv "$work/env"
pip="$work/env/bin/python -m pip --disable-pip-version-check"
$pip install -q --upgrade 'pip>=25.1'
frozen() { $pip freeze --all --exclude-editable --exclude espo --exclude pip | grep -viE '^(nvidia-(c|n)|triton)' | sed -E 's/^(torch==[0-9.]+)\+.*/\1/' | sort -f; }
header="# Made by \`make lock\`. Python packages, exact versions."
$pip install -q 'torch==2.13.0' '.[service]' setuptools
# Redis needs it before Python 3.11.3, such as on Debian 12; a newer Python resolves without it.
older='async-timeout==5.0.1; python_full_version < "3.11.3"'
{ echo "$header"; frozen; echo "$older"; } > "$work/run"
$pip install -q --group dev
{ echo "$header"; echo "-r requirements.lock"; frozen | grep -vxF -f "$work/run"; } > requirements-dev.lock
mv "$work/run" requirements.lock
