#!/bin/bash
# Plants bugs, one at a time, in a scratch copy, and shows which methods find each: at least two must, and all
# must be silent without it. Usage: scripts/plant-bugs.sh [BUG ...]; the bugs are tests/planted/*.patch.
set -eu
cd "$(dirname "$0")/.."

# bug | method | how it is run: the arguments of `cargo test`, of which the last names the tests
table='
fencing | model               | --features failpoints --test it model::a_stopped_worker_that_wakes_after_the_takeover_changes_nothing
fencing | storm, SIGSTOP      | --features failpoints --test it storm::a_sleeper_changes_nothing_and_says_superseded
fencing | rules alone         | -p oodatcaa-core --lib settle::
dirsync | order of calls      | --features failpoints --test it order::a_claim_is_durable_before_its_agent_starts
dirsync | injected fault      | -p oodatcaa-store --features failpoints --test store failing::a_directory_that_does_not_reach_the_disk
wip     | model               | --features failpoints --test it model::a_limit_of_one_holds_for_two_tasks
wip     | storm, contention   | --features failpoints --test it storm::workers_that_wake_together_keep_to_the_limit
'
# Where it may cut the power, that is a method too.
if [ -e tests/it/power.rs ]; then
    table+='dirsync | power cut           | --features failpoints --test it power::
'
fi

target=${CARGO_TARGET_DIR:-$PWD/target}
scratch=$target/planted
copy=$scratch/copy
mkdir -p "$scratch/target/debug"
rm -rf "$copy"
mkdir "$copy"
git ls-files -z --cached --others --exclude-standard | tar --null -T - -c --ignore-failed-read -f - 2>/dev/null | tar -x -C "$copy"
[ ! -e "$target/agents" ] || ln -sfn "$target/agents" "$scratch/target/agents"
# What others than this package have built is the same there.
if [ ! -e "$scratch/target/debug/deps" ] && [ -e "$target/debug/deps" ]; then
    for part in deps build .fingerprint; do cp -al "$target/debug/$part" "$scratch/target/debug/$part"; done
    rm -rf "$scratch"/target/debug/{deps,.fingerprint}/*oodatcaa* "$scratch"/target/debug/deps/{it,agent}[-_]*
fi
# A run that ended in the middle has left a bug in what it built; the copy is older than that, so cargo would keep it.
rm -rf "$scratch"/target/debug/.fingerprint/*oodatcaa*
export CARGO_TARGET_DIR=$scratch/target

# In $copy. Without the bug there is patience; with it, something may be expected that does not come.
build() {
    if ! (cd "$copy" && cargo test --locked --quiet --workspace --features failpoints --lib --test it --test store --no-run) >"$scratch/build.log" 2>&1; then
        echo "it does not build: $scratch/build.log" >&2
        tail -n 20 "$scratch/build.log" >&2
        exit 1
    fi
}

# Puts a bug into the copy; with -R takes it out. The copy is no part of the repository around it.
plant() {
    GIT_CEILING_DIRECTORIES=$scratch git -C "$copy" apply ${2:+"$2"} "$PWD/tests/planted/$1.patch"
}

# Answers `silent`, `found`, `skipped` or `nothing ran`.
try() {
    local log=$scratch/method.log code=0
    # shellcheck disable=SC2086 # a list of words
    (cd "$copy" && timeout 180 cargo test --locked --quiet $1 -- --nocapture) >"$log" 2>&1 || code=$?
    if [ $code = 0 ] && ! grep -q '^test result: ok. [1-9]' "$log"; then
        echo 'nothing ran'
    elif [ $code = 0 ] && grep -q '^skipped: ' "$log"; then
        echo skipped
    elif [ $code = 0 ]; then
        echo silent
    else
        echo found
    fi
}

rows() {
    grep "^$1 *|" <<<"$table"
}

if [ $# -gt 0 ]; then bugs=("$@"); else bugs=(); for patch in tests/planted/*.patch; do bugs+=("$(basename "$patch" .patch)"); done; fi
declare -A sound
failed=0
build
for bug in "${bugs[@]}"; do
    while IFS='|' read -r _ method arguments; do
        sound["$arguments"]=$(try "$arguments" </dev/null)
    done < <(rows "$bug")
done

printf '%-8s  %-18s  %-10s  %s\n' bug method without with
for bug in "${bugs[@]}"; do
    plant "$bug"
    build
    found=0
    while IFS='|' read -r _ method arguments; do
        method=$(xargs <<<"$method")
        export PATIENCE=10
        with=$(try "$arguments" </dev/null)
        unset PATIENCE
        printf '%-8s  %-18s  %-10s  %s\n' "$bug" "$method" "${sound["$arguments"]}" "$with"
        case "${sound["$arguments"]}" in silent | skipped) ;; *) failed=1 ;; esac
        [ "$with" != found ] || found=$((found + 1))
        [ "$with" != 'nothing ran' ] || failed=1
    done < <(rows "$bug")
    [ $found -ge 2 ] || { echo "$bug is found by $found methods, and must be by two" >&2; failed=1; }
    plant "$bug" -R
done
rm -rf "$copy"
exit $failed
