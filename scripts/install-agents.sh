#!/bin/sh
# Puts the agent programs of scripts/agents.versions into target/agents (target/agents/bin/NAME); does nothing for
# those that are there. Without names: all of them. What cannot be installed is said, and noted in
# target/agents/NAME.missing, which the tests show when they skip; then the exit status is 1.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
root=${CARGO_TARGET_DIR:-$here/target}/agents
list=$here/scripts/agents.versions
mkdir -p "$root/bin"

known=$(sed -e 's/#.*//' "$list" | awk 'NF == 3 { print $1 }')
[ $# -gt 0 ] || {
    # shellcheck disable=SC2086 # a list of words
    set -- $known
}

missing() {
    echo "$2" >"$root/$1.missing"
    echo "$1 is not installed: $2" >&2
    failed=1
}

# Install scripts are off for everything that comes along; of the program itself only the step that puts its native
# binary in place is run. npm tries for minutes when there is no network; two short tries are enough to know.
install() {
    npm install --prefix "$3" --ignore-scripts --no-audit --no-fund --no-save --no-package-lock --loglevel=error \
        --update-notifier=false --fetch-retries=1 --fetch-retry-mintimeout=1000 --fetch-timeout=60000 \
        "$1@$2" </dev/null &&
        npm run --prefix "$3/node_modules/$1" --if-present --loglevel=error --update-notifier=false \
            postinstall </dev/null
}

# Whether it says its version, with a home of its own.
speaks() {
    mkdir -p "$2/.home"
    (cd "$2/.home" && HOME=$2/.home XDG_DATA_HOME='' XDG_CONFIG_HOME='' XDG_STATE_HOME='' XDG_CACHE_HOME='' \
        "$2/node_modules/.bin/$1" --version </dev/null 2>&1) | grep -qF "$3"
}

failed=0
for name; do
    line=$(sed -e 's/#.*//' "$list" | awk -v name="$name" 'NF == 3 && $1 == name { print $2, $3 }')
    if [ -z "$line" ]; then
        echo "error: scripts/agents.versions names no $name; it names:" $known >&2
        exit 2
    fi
    package=${line% *} version=${line#* }
    if [ "$(cat "$root/$name/version" 2>/dev/null)" = "$version" ] && [ -x "$root/bin/$name" ]; then
        rm -f "$root/$name.missing"
        continue
    fi
    if ! command -v npm >/dev/null 2>&1; then
        missing "$name" "npm is not there; install Node.js 20 or newer with npm, then: scripts/install-agents.sh $name"
        continue
    fi
    echo "installing $name $version ($package) into $root/$name"
    new=$root/.$name.$$
    rm -rf "$new"
    mkdir "$new"
    if ! install "$package" "$version" "$new" >"$root/$name.log" 2>&1; then
        rm -rf "$new"
        why=$(grep -m1 -i -e 'code E' -e 'error' "$root/$name.log" || tail -n1 "$root/$name.log")
        missing "$name" "npm could not fetch $package@$version (${why:-no reason given}); the whole story: $root/$name.log"
        continue
    fi
    if ! speaks "$name" "$new" "$version"; then
        rm -rf "$new"
        missing "$name" "$package@$version was fetched, but does not run here; the whole story: $root/$name.log"
        continue
    fi
    rm -rf "$new/.home"
    echo "$version" >"$new/version"
    rm -rf "${root:?}/$name"
    mv "$new" "$root/$name"
    ln -sfn "../$name/node_modules/.bin/$name" "$root/bin/$name"
    rm -f "$root/$name.missing"
done
exit "$failed"
