#!/bin/sh
# A lease on a task, for agents and people that no worker runs: TASK_ID ROLE [acquire|beat|release]
# A thin name for `agentctl lease`; OWNER_TAG says who works, TTL for how many seconds. What `acquire` got as its token
# is kept in .leases/.TASK_ID.OWNER.token for `beat` and `release`.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
task=${1:?TASK_ID required}
role=${2:?ROLE required}
owner=${OWNER_TAG:-agent-$role}
root=${OODATCAA_PROJECT:-.}
kept=$root/.leases/.$task.$owner.token
token() {
    [ -r "$kept" ] || { echo "error: $owner has no lease on $task" >&2; exit 1; }
    cat "$kept"
}
case ${3:-acquire} in
acquire)
    said=$("$here/agentctl" -C "$root" lease acquire "$task" --role "$role" --owner "$owner" ${TTL:+--ttl "${TTL}s"})
    printf '%s\n' "$said" | cut -f 2 >"$kept"
    echo "Acquired lease $root/.leases/$task.json as $owner (token $(cat "$kept"))"
    ;;
beat)
    "$here/agentctl" -C "$root" lease beat "$task" --token "$(token)" >/dev/null
    echo "Heartbeat for $root/.leases/$task.json"
    ;;
release)
    "$here/agentctl" -C "$root" lease release "$task" --token "$(token)" ${TO:+--to "$TO"} >/dev/null
    rm -f -- "$kept"
    echo "Released lease $root/.leases/$task.json"
    ;;
*)
    echo "usage: $0 TASK_ID ROLE [acquire|beat|release]" >&2
    exit 2
    ;;
esac
