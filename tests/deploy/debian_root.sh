#!/bin/sh
# debian_root.sh FOLDER: puts Debian 12 with its python3, postgresql and redis-server there, from Debian's packages alone.
# Imported as an image it stands in for the published ones where no image registry is reached. Root and debootstrap.
set -eu
root=$1
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates,postgresql,redis-server bookworm "$root" \
    >"$root.log" 2>&1 || { tail -n 20 "$root.log" >&2; exit 1; }
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
# A named volume takes the owner of the folder that it covers, a tmpfs its mode: as in the published images.
chroot "$root" install -d -o redis -g redis /data
chroot "$root" install -d -o postgres -g postgres /var/lib/postgresql/data
chroot "$root" chmod 1777 /run/postgresql
# pg_isready and initdb themselves, not Debian's wrappers around them.
chroot "$root" sh -c 'ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/'
