#!/usr/bin/env bash
# Plants one small bug after the other into the rules of lease, claim, settle and rescue, and asks the unit tests.
# A bug that no test notices fails the script; .cargo/mutants.toml lists those that cannot be noticed, each with its reason.
# The rules are a crate of their own that uses no other: a bug costs seconds.
# One test is left out: it knows nothing of these rules and takes, unoptimised, longer than all the others together.
# Arguments go to cargo-mutants: scripts/mutants.sh --re superseded
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$here/target}
"$here/scripts/install-tools.sh" cargo-mutants
export CARGO_TARGET_DIR=$target/mutants/build PROPTEST_CASES=${PROPTEST_CASES:-64}
status=0
"$target/tools/bin/cargo-mutants" mutants --dir "$here" --package oodatcaa-core --config "$here/.cargo/mutants.toml" \
    --output "$target/mutants" --timeout "${MUTANTS_TIMEOUT:-120}" --no-shuffle --colors never \
    --file crates/core/src/lease.rs --file crates/core/src/token.rs --file crates/core/src/rules/claim/mod.rs \
    --file crates/core/src/rules/rescue/mod.rs --file 'crates/core/src/rules/settle/*.rs' \
    "$@" -- --lib -- --skip cycles::tests::great_cycles || status=$?
count() { wc -l <"$target/mutants/mutants.out/$1.txt"; }
[ -d "$target/mutants/mutants.out" ] || exit "$status"
echo "figure: mutants: $(($(count caught) + $(count missed) + $(count timeout) + $(count unviable))) planted," \
    "$(count caught) caught, $(count timeout) endless, $(count unviable) no program, $(count missed) missed"
cat "$target/mutants/mutants.out/missed.txt"
exit "$status"
