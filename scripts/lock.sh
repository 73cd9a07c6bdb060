#!/bin/sh
# A lock on a file's name, for five minutes: FILE [acquire|release]. OWNER_TAG says who takes it.
# A thin name for `agentctl lease lock` and `unlock`.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
file=${1:?FILE required}
owner=${OWNER_TAG:-agent-locker}
root=${OODATCAA_PROJECT:-.}
case ${2:-acquire} in
acquire)
    "$here/agentctl" -C "$root" lease lock "$file" --owner "$owner" >/dev/null
    echo "Acquired lock $root/.locks/$file.lock"
    ;;
release)
    "$here/agentctl" -C "$root" lease unlock "$file" --owner "$owner" >/dev/null
    echo "Released lock $root/.locks/$file.lock"
    ;;
*)
    echo "usage: $0 FILE [acquire|release]" >&2
    exit 2
    ;;
esac
