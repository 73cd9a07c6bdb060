#!/usr/bin/env bash
# Plants one small bug after the other into the rules of lease, claim, settle and rescue, and asks the unit tests.
# A bug that no test notices fails the script; .cargo/mutants.toml lists those that cannot be noticed, each with its reason.
# The rules know nothing of the rest (floor 0), so they are built here as a package of their own: a bug costs seconds.
# One test is left out: it knows nothing of these rules and takes, unoptimised, longer than all the others together.
# Arguments go to cargo-mutants: scripts/mutants.sh --re superseded
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$here/target}
"$here/scripts/install-tools.sh" cargo-mutants
copy=$target/mutants/rules
rm -rf "$copy/src"
mkdir -p "$copy/src"
cp -r "$here/src/domain" "$copy/src/"
cp "$here/Cargo.lock" "$here/clippy.toml" "$copy/"
printf '//! The rules alone.\n\npub mod domain;\n' >"$copy/src/lib.rs"
# The same versions and features, without what only the other floors need.
awk '
    /^\[/ { part = $0 }
    part == "[package]" && /^(name|version|edition|rust-version)/ { print; next }
    part ~ /^\[(dev-)?dependencies\]$/ && /^(chrono|serde|serde_json|sha2|thiserror|proptest) / { print; next }
    /^\[(package|dependencies|dev-dependencies)\]$/ { print "\n" $0 }
    END { print "\n[lib]\ndoctest = false\n\n[profile.dev]\ndebug = false\n\n[workspace]" }
' "$here/Cargo.toml" >"$copy/Cargo.toml"
export CARGO_TARGET_DIR=$target/mutants/build PROPTEST_CASES=${PROPTEST_CASES:-64}
status=0
"$target/tools/bin/cargo-mutants" mutants --in-place --dir "$copy" --config "$here/.cargo/mutants.toml" \
    --output "$target/mutants" --timeout "${MUTANTS_TIMEOUT:-120}" --no-shuffle --colors never \
    --file src/domain/lease.rs --file src/domain/claim.rs --file src/domain/rescue.rs \
    --file src/domain/settle.rs --file 'src/domain/settle/*.rs' \
    "$@" -- --lib -- --skip domain::knots::tests::great_knots || status=$?
count() { wc -l <"$target/mutants/mutants.out/$1.txt"; }
[ -d "$target/mutants/mutants.out" ] || exit "$status"
echo "figure: mutants: $(($(count caught) + $(count missed) + $(count timeout) + $(count unviable))) planted," \
    "$(count caught) caught, $(count timeout) endless, $(count unviable) no program, $(count missed) missed"
cat "$target/mutants/mutants.out/missed.txt"
exit "$status"
