#!/usr/bin/env bash
# Feeds changed inputs of tests/fuzz/corpus to everything that reads what others wrote; fails when one of them
# breaks a promise, and keeps that input, made small, in target/fuzz: put it into the corpus with the fix.
#   FUZZ_SECONDS=60 for each target    FUZZ_TARGET="queue lease"; all without    SEED=1
#   FUZZ_OPT_LEVEL=2 builds optimised in a directory of its own: worth it from ten minutes on
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$here"
if [ -n "${FUZZ_OPT_LEVEL:-}" ]; then
    # Checks of overflow and assertions stay on.
    export CARGO_PROFILE_DEV_OPT_LEVEL=$FUZZ_OPT_LEVEL CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/fuzz-build
fi
export RUST_LOG=off FUZZ_SECONDS=${FUZZ_SECONDS:-60} FUZZ_TARGET=${FUZZ_TARGET:-} SEED=${SEED:-1}
${CARGO:-cargo} test --locked --features failpoints --test it -- \
    --ignored --exact fuzz::every_target_at_length --nocapture --test-threads=1
