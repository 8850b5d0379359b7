#!/bin/sh
# Builds one service for its image: build.sh NAME TO. Called by the Dockerfiles, which mount the caches.
set -eu

name=$1
to=$2

# A network with a certificate authority of its own: its bundle comes as a build secret and stays out of the image.
ca=/run/secrets/ca
if [ -s "$ca" ]; then
    export CARGO_HTTP_CAINFO="$ca" SSL_CERT_FILE="$ca"
fi

# Writes the crates into the program, for scanners. It is compiled once for all services and builds, in the cache.
auditable=$CARGO_TARGET_DIR/cargo-auditable-0.7.7
if [ ! -x "$auditable/bin/cargo-auditable" ]; then
    cargo install --quiet --locked --root "$auditable" --version 0.7.7 cargo-auditable
fi
export PATH="$auditable/bin:$PATH"

# The target is named, although it is the host's own, so that the flag keeps away from build scripts and macros.
target=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS='-C target-feature=+crt-static'

# cargo tells what has changed by time, and COPY keeps the times of the checkout: the sources of a clone that was made
# before the cache was last filled would pass for built, and another checkout's binary would go into the image. So the
# cache has a copy of what was compiled last: a file that is the same has the copy's time, all others have now.
compiled=$CARGO_TARGET_DIR/sources
mkdir -p "$compiled"
list() {
    (cd "$1" && find "$2" -type f 2>/dev/null | LC_ALL=C sort)
}
for part in *; do
    # What reads a folder, as a build script does, may know a file that came or went by nothing else.
    if [ "$(list . "$part")" != "$(list "$compiled" "$part")" ]; then
        rm -rf "${compiled:?}/$part"
    fi
    list . "$part" | while read -r file; do
        if cmp -s "$file" "$compiled/$file"; then
            touch -r "$compiled/$file" "$file"
        else
            touch "$file"
            install -D -p "$file" "$compiled/$file"
        fi
    done
done

# The services that were not copied are missing from the workspace, and cargo takes them out of the lock. That may be the
# only change: a package that the lock didn't name is an error.
checksums() {
    sed -n 's/^checksum = //p' Cargo.lock | sort
}
before=$(mktemp)
after=$(mktemp)
checksums >"$before"
cargo fetch --target "$target"
checksums >"$after"
if [ -n "$(comm -13 "$before" "$after")" ]; then
    echo "Cargo.lock doesn't fit the manifests; run cargo check in services/ and commit the lock" >&2
    exit 1
fi

cargo auditable build --locked --release --target "$target" --package "$name"
install -D "$CARGO_TARGET_DIR/$target/release/$name" "$to"
