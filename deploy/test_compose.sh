#!/usr/bin/env bash
# `make test-compose`: docker-compose.yml for real, with a job through it.
#
# Where a Docker engine answers, it is used. Elsewhere root on Debian or Ubuntu gets one: installed from the
# distribution, started here, gone at the end. No image registry is needed: the base images are made from Debian's
# packages, and Python's packages come as wheels through this machine's pip. IMAGES=published takes the published base
# images, on an engine that reaches them. Where neither is possible this says so and succeeds.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHON=.venv/bin/python
folder=$(mktemp -d)
child=
wheels_are_ours=
clean() {
    # The namespaces' first process goes with unshare, and everything inside with it.
    [[ -z $child ]] || kill -KILL "$child" 2>/dev/null || true
    # Left there, they would go into the next image that is built for use.
    [[ -z $wheels_are_ours ]] || rm -f deploy/wheelhouse/*.whl
    rm -rf "$folder"
}
trap clean EXIT
trap 'exit 130' INT TERM

skip() {
    echo "test-compose skipped: $*"
    exit 0
}

may_install() { ((EUID == 0)) && command -v apt-get >/dev/null; }

need() { # need COMMAND PACKAGE ...: installs the packages unless there is the command
    command -v "$1" >/dev/null && return
    may_install || skip "$1 is missing (Debian and Ubuntu have it in ${*:2})"
    DEBIAN_FRONTEND=noninteractive apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${@:2}" >/dev/null \
        || skip "apt-get cannot install ${*:2}"
}

choose_tools() {
    # A client without buildx cannot build these images, whatever the engine can; Debian's own client can.
    docker buildx version >/dev/null 2>&1 || [[ ! -x /usr/bin/docker ]] || export PATH=/usr/bin:$PATH
    if docker compose version >/dev/null 2>&1; then
        export COMPOSE="docker compose"
    else
        need docker-compose docker-compose
        export COMPOSE=docker-compose
    fi
}

if [[ ${IMAGES:-} != published ]]; then
    need debootstrap debootstrap
    ((EUID == 0)) || skip "debootstrap needs root; with IMAGES=published and an engine of yours none is needed"
    start=$SECONDS
    nice sh tests/deploy/debian_root.sh "$folder/root" || skip "Debian's packages are not reached"
    echo "base image made: $((SECONDS - start)) s"
    if ! compgen -G 'deploy/wheelhouse/*.whl' >/dev/null; then
        wheels_are_ours=yes
        sh deploy/wheelhouse.sh
    fi
fi
if docker info >/dev/null 2>&1; then
    choose_tools
    tests/deploy/stack.sh "$folder"
    exit
fi
((EUID == 0)) || skip "no Docker engine answers, and only root can start one"
need dockerd docker.io iptables
need ip iproute2
choose_tools
unshare --net --mount --pid --fork --kill-child --mount-proc \
    tests/deploy/own_engine.sh "$folder" tests/deploy/stack.sh "$folder" &
child=$!
status=0
wait "$child" || status=$?
child=
((status != 75)) || skip "no Docker engine can be started here"
exit "$status"
