#!/bin/sh
# Puts the tools of `make check` that cargo does not bring into target/tools; does nothing when they are there.
set -eu
version=0.20.2
here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
root=${CARGO_TARGET_DIR:-$here/target}/tools
has() { [ "$("$1" --version 2>/dev/null)" = "cargo-deny $version" ]; }
if has "$root/bin/cargo-deny"; then exit 0; fi
mkdir -p "$root/bin"
if installed=$(command -v cargo-deny) && has "$installed"; then
    ln -sf "$installed" "$root/bin/cargo-deny"
    exit 0
fi
echo "installing cargo-deny $version into $root (once, a minute or two)"
# Unoptimised and without what only the advisory database needs: it reads a lock file of 200 entries.
cargo install --quiet --locked --debug --no-default-features \
    --root "$root" --target-dir "$root/build" "cargo-deny@$version"
rm -rf "$root/build"
