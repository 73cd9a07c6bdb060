#!/usr/bin/env bash
# Collects what docs/PROOF.md is written from, in target/proof/, and writes it.
# Usage: scripts/proof.sh [STAGE ...]   stages: tests torture plant-bugs fuzz mutants bench; default: all.
# A stage that is not run keeps its result of an earlier run, with the commit that it ran at.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${CARGO_TARGET_DIR:-target}/proof
commit=$(git rev-parse --short=12 HEAD)
git diff --quiet HEAD -- src crates Cargo.toml Cargo.lock || commit="$commit, with changes"
mkdir -p "$out"
echo "$commit" > "$out/commit"
{
    printf 'Commit %s, %s UTC. ' "$commit" "$(date -u '+%Y-%m-%d %H:%M')"
    printf '%s cores, Linux %s, %s on %s, %s.\n' "$(nproc)" "$(uname -r)" \
        "$(stat -f -c %T .)" "$(uname -m)" "$(rustc --version | cut -d' ' -f1,2)"
} > "$out/machine.txt"

# Keeps the output of a command and its exit status under its name; goes on when it fails.
stage() {
    local name=$1 status=0
    shift
    echo "== $name" >&2
    "$@" > "$out/$name.txt" 2>&1 || status=$?
    echo "$status" > "$out/$name.status"
    echo "$commit" > "$out/$name.commit"
    [ "$status" = 0 ] || echo "$name: exit status $status, see $out/$name.txt" >&2
}

all=(tests torture plant-bugs fuzz mutants bench)
for name in "${@:-${all[@]}}"; do
    case $name in
        tests) stage tests make test TEST_ARGS='-- --show-output' ;;
        torture) stage torture make torture ;;
        plant-bugs) stage plant-bugs make plant-bugs ;;
        fuzz) stage fuzz make fuzz ;;
        mutants) stage mutants make mutants ;;
        bench) BENCH_OUT="$PWD/$out/bench.md" stage bench make bench ;;
        *) echo "unknown stage: $name; there are: ${all[*]}" >&2; exit 64 ;;
    esac
done
cargo run --quiet --locked --example proof
