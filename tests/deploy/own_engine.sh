#!/usr/bin/env bash
# own_engine.sh FOLDER COMMAND ...: runs COMMAND with a Docker engine of its own that keeps everything in FOLDER.
# Meant as the first process of new network, mount and process namespaces: when it ends, the kernel ends the engine and
# its containers and takes away their mounts, bridges and firewall rules. The engine reaches nothing outside.
# Exit status 75: the engine did not start.
set -uo pipefail
folder=$1
shift
export DOCKER_HOST=unix://$folder/docker.sock
ip link set lo up
dockerd --host "$DOCKER_HOST" --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/pid" \
    >"$folder/dockerd.log" 2>&1 &
for _ in $(seq 60); do
    if docker info >/dev/null 2>&1; then
        "$@"
        exit
    fi
    kill -0 $! 2>/dev/null || break
    sleep 0.5
done
tail -n 5 "$folder/dockerd.log" >&2
exit 75
