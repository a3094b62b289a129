#!/usr/bin/env bash
# stack.sh FOLDER: builds the images, starts docker-compose.yml with a CPU worker and runs test_stack.py against it.
# FOLDER/root is the base image's root file system; where it is missing, the published images are used.
set -euo pipefail
folder=$1
project=espo-test
# The caller's settings would count more than those of the file below.
unset "${!ESPO_@}" "${!COMPOSE_@}"
export DOCKER_BUILDKIT=1 COMPOSE_DOCKER_CLI_BUILD=1
files=(-f docker-compose.yml)
mkdir -p "$folder/models"
cat >"$folder/env" <<END
POSTGRES_PASSWORD=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
REDIS_PASSWORD=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
COMPOSE_PROFILES=cpu
ESPO_API_PORT=$("$PYTHON" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
MODEL_FOLDER=$folder/models
API_IMAGE=$project-api
WORKER_IMAGE=$project-worker
END

timed() { # timed WHAT COMMAND ...
    local what=$1 start=$SECONDS
    shift
    "$@" >"$folder/step.log" 2>&1 || { tail -n 40 "$folder/step.log" >&2; echo "failed: $what" >&2; return 1; }
    echo "$what: $((SECONDS - start)) s"
}

import_base() { tar -C "$folder/root" -c . | docker import - "$project-base"; }

clean() {
    local status=$?
    trap - EXIT
    ((status == 0)) || "${compose[@]}" logs --tail 60 || true
    timed "stopped and removed" "${compose[@]}" down --volumes --remove-orphans --timeout 20
    docker image rm "$project-api" "$project-worker" "$project-base" >/dev/null 2>&1 || true
    exit "$status"
}

if [[ -d $folder/root ]]; then
    timed "base image imported" import_base
    files+=(-f tests/deploy/compose.debian.yml)
    for image in BASE POSTGRES REDIS; do echo "${image}_IMAGE=$project-base"; done >>"$folder/env"
fi
compose=($COMPOSE --project-directory . --env-file "$folder/env" -p "$project" "${files[@]}")
trap clean EXIT
trap 'exit 130' INT TERM
timed "api image built" "${compose[@]}" build api
timed "worker image built" "${compose[@]}" build worker-cpu
timed "services started" "${compose[@]}" up -d api worker-cpu
ESPO_TEST_COMPOSE="${compose[*]}" "$PYTHON" -m pytest tests/deploy/test_stack.py -v -x --durations 4 --timeout 1800
