#!/bin/sh
# Puts the tools of `make check` and `make mutants` that cargo does not bring into target/tools; does nothing when
# they are there. Arguments: which of them (cargo-deny, cargo-mutants); without any, what `make check` needs.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
root=${CARGO_TARGET_DIR:-$here/target}/tools
has() { [ "$("$1" "${2#cargo-}" --version 2>/dev/null)" = "$2 $3" ]; }
# A tool, its version, and what else cargo is told.
install() {
    tool=$1 version=$2
    shift 2
    if has "$root/bin/$tool" "$tool" "$version"; then return; fi
    mkdir -p "$root/bin"
    if installed=$(command -v "$tool") && has "$installed" "$tool" "$version"; then
        ln -sf "$installed" "$root/bin/$tool"
        return
    fi
    echo "installing $tool $version into $root (once, a minute or two)"
    # Unoptimised: building it costs more than running it.
    cargo install --quiet --locked --debug "$@" --root "$root" --target-dir "$root/build" "$tool@$version"
    rm -rf "$root/build"
}
for tool in "${@:-cargo-deny}"; do
    case $tool in
    # Without what only the advisory database needs: it reads a lock file of 200 entries.
    cargo-deny) install cargo-deny 0.20.2 --no-default-features ;;
    cargo-mutants) install cargo-mutants 27.1.0 ;;
    *) echo "no such tool: $tool" >&2 && exit 64 ;;
    esac
done
