#!/usr/bin/env bash
# The fleet under a real systemd user manager, as an unprivileged user: run.sh BINARIES
# Prints PASS and FAIL lines and a count; SKIP and the reason where this machine does not allow it.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=$(cd "${1:?the directory of the binaries}" && pwd) || exit 2
# shellcheck source-path=SCRIPTDIR source=manager.sh
. "$here/manager.sh"
roles="planner builder tester refiner integrator"
passed=0 failed=0

check() { # NAME WANTED GOT: the wanted text is a pattern
    # shellcheck disable=SC2053 # the pattern is meant as one
    if [[ $3 == $2 ]]; then
        passed=$((passed + 1)); echo "PASS $1"
    else
        failed=$((failed + 1)); echo "FAIL $1: wanted '$2', got '${3:0:1500}'"
    fi
}
within() { # SECONDS COMMAND...: until it succeeds
    local end=$((SECONDS + $1))
    until "${@:2}"; do [ $SECONDS -lt $end ] || return 1; sleep .05; done
}

manager_possible || { echo "SKIP $why"; exit 0; }
manager_start || exit 1

# What the user has: the checkout with its binaries, readable, and a project at home.
mkdir -p "$share/checkout/target/debug" "$share/checkout/scripts" "$share/checkout/systemd"
cp "$root/Makefile" "$share/checkout/"
cp "$root"/scripts/* "$share/checkout/scripts/"
cp "$root"/systemd/* "$share/checkout/systemd/"
cp "$bin"/{agentctl,agent-daemon,agent-sim} "$share/checkout/target/debug/"
chmod -R a+rX "$share"
mkdir -p "$user_home/project/.oodatcaa/work" "$user_home/project/.oodatcaa/prompts" "$user_home/bin"
cp "$root"/.oodatcaa/prompts/*.md "$user_home/project/.oodatcaa/prompts/"
cat >"$user_home/project/.oodatcaa/config.toml" <<'END'
[fleet]
agent = "sim"
interval = "1s"
shutdown_timeout = "3s"
grace = "1s"
END
printf 'seconds = 0.3\n[[rules]]\ntask = "SLOW"\nseconds = 60\n' >"$user_home/project/.oodatcaa/sim.toml"
queue() { printf '{"sprint":1,"wip_limits":{},"tasks":[{"id":"%s","title":"A task","status":"%s","priority":1}]}\n' "$1" "$2"; }
queue T1 needs_plan >"$user_home/project/.oodatcaa/work/SPRINT_QUEUE.json"
# What only the login shell knows.
echo 'PATH=$HOME/bin:$PATH' >"$user_home/.profile"
chown -R "$user_id:$user_id" "$user_home"

project=/home/$user_name/project
units=/home/$user_name/.config/systemd/user
run() { as_user make --no-print-directory -C /srv/checkout PROJECT=$project "$@" 2>&1; }
agentctl() { as_user /srv/checkout/target/debug/agentctl -C $project "$@"; }
of() { as_user systemctl --user show "agent-$1.service" --property "$2" --value; }
status_of() { agentctl show "$1" --json 2>/dev/null | jq -r '.status // .task.status'; }
is() { [ "$(status_of "$1")" = "$2" ]; }
has() { [[ $("${@:2}") == $1 ]]; }

out=$(agentctl config trust --yes 2>&1); code=$?
check "the user trusts the project" 0 $code
out=$(run agents-start); code=$?
check "make agents-start succeeds" 0 $code
check "it says that it chose systemd and why" "*mode: systemd user units, because the systemd user manager of this user works*" "$out"
check "it installs the units and says so" "*installed agent-*agent-integrator.service in $units*" "$out"
check "it says how many run" "*Running: 5/5*" "$out"
check "it says what happens at logout" "*loginctl enable-linger*" "$out"
for role in $roles; do
    check "agent-$role is active, a notify service that is ready" "active running notify" \
        "$(of "$role" ActiveState) $(of "$role" SubState) $(of "$role" Type)"
done
check "the login shell's PATH is in the units" "*PATH=/home/$user_name/bin:*" "$(of builder Environment)"
check "the worker says what it does" "?*" "$(of builder StatusText)"
check "they run as the user" "$user_name" "$(as_user ps -o user= -p "$(of builder MainPID)" | tr -d ' ')"

within 60 is T1 'done'
check "a task walks to done" "done" "$(status_of T1)"
check "the journal has the log of the worker" "*T1*" "$(as_user journalctl --user -u agent-builder -o cat --no-pager)"

out=$(as_user systemd-analyze --user verify --man=no --recursive-errors=no "$units"/agent-{planner,builder,tester,refiner,integrator}.service 2>&1); code=$?
check "the units pass the strict verify" "0 " "$code $out"

out=$(run agents-start); code=$?
check "starting what runs is no error" "0 *builder*is already running (systemd)*Running: 5/5*" "$code $out"
out=$(run agents-status); code=$?
check "status shows them" "0 *builder*running*systemd*Running: 5/5*" "$code $out"
out=$(as_user sh -c "cd $project && /srv/checkout/scripts/agents-daemon-cli.sh status" 2>&1); code=$?
check "the script for pid files tells who runs under systemd as well" "0 *builder*running*systemd*Running: 5/5*" "$code $out"
out=$(agentctl status --json 2>&1); code=$?
check "the status of the project has a worker in every role" "0 5" \
    "$code $(jq '[.roles[] | select(.workers > 0 or (.workers | type == "array" and length > 0))] | length' <<<"$out" 2>&1)"
check "who has nothing to do is no longer said to work" "" "$(of builder StatusText | grep 'works on')"

before=$(of builder MainPID)
# 0 where none runs: that would be our own process group.
[ "${before:-0}" -gt 1 ] && as_root kill -KILL "$before"
check "a killed worker is started again" ok "$(within 20 has '[1-9]*' of builder NRestarts && within 20 has active of builder ActiveState && echo ok)"
check "as another process" "yes" "$([ "$before" != "$(of builder MainPID)" ] && echo yes)"

# A worker that is stopped in the middle of an attempt gives the task back and leaves nothing.
as_user sh -c "cd $project/.oodatcaa/work && jq '.tasks += [{id: \"SLOW\", title: \"Takes long\", status: \"ready\"}]' \
    SPRINT_QUEUE.json >next && mv next SPRINT_QUEUE.json"
within 20 is SLOW in_progress
check "an attempt is under way" in_progress "$(status_of SLOW)"
from=$SECONDS
out=$(run agents-stop ROLES=builder); code=$?
check "stopping one worker stops that one" "0 *builder*stopped*" "$code $out"
check "within what the shutdown timeout allows" yes "$([ $((SECONDS - from)) -le 15 ] && echo yes)"
check "its unit is inactive, not failed" inactive "$(of builder ActiveState)"
check "the others go on" active "$(of tester ActiveState)"
check "the task is given back" ready "$(status_of SLOW)"
check "nothing of the attempt is left" "" "$(as_root pgrep -fa 'agent-sim|agent-daemon shim' || :)"

out=$(run agents-start ROLES=builder)
within 20 is SLOW in_progress
out=$(run agents-stop); code=$?
check "make agents-stop succeeds" "0 *Running: 0/5*" "$code $out"
check "nothing is left of the fleet" "" "$(as_root pgrep -fa 'agent-(sim|daemon)' || :)"
check "no lease is left" "" "$(as_user sh -c "ls $project/.leases" 2>/dev/null)"

# What no restart mends is not tried again and again.
as_user sh -c "echo 'nonsense = [' >>$project/.oodatcaa/config.toml"
out=$(run agents-start ROLES=tester BACKEND=systemd); code=$?
check "a start that fails says so" "[12] *tester*exit status 78*" "$code $out"
check "and why" "*config.toml*" "$out"
check "it is not restarted" "failed 0" "$(of tester ActiveState) $(of tester NRestarts)"
as_user sed -i '/^nonsense/d' $project/.oodatcaa/config.toml

# Another project of the same user is not run over.
as_user cp -r $project /home/$user_name/other
as_user rm -rf /home/$user_name/other/.leases /home/$user_name/other/.locks
as_user /srv/checkout/target/debug/agentctl -C /home/$user_name/other config trust --yes >/dev/null 2>&1
out=$(as_user /srv/checkout/target/debug/agentctl -C /home/$user_name/other fleet start planner 2>&1); code=$?
check "a second project takes PID files and says why" "0 *mode: PID files*belongs to the project $project*" "$code $out"
out=$(as_user /srv/checkout/target/debug/agentctl -C /home/$user_name/other fleet install 2>&1); code=$?
check "its install is refused with a hint" "5 *$project*hint:*uninstall*" "$code $out"
as_user /srv/checkout/target/debug/agentctl -C /home/$user_name/other fleet stop >/dev/null 2>&1

run agents-start ROLES="planner tester" >/dev/null
out=$(as_user /srv/checkout/systemd/uninstall-services.sh $project 2>&1); code=$?
check "uninstall succeeds" "0 *removed agent-*" "$code $out"
check "uninstall leaves no unit" "" "$(as_user sh -c "ls -A $units" 2>/dev/null)"
check "uninstall leaves no process" "" "$(as_root pgrep -fa 'agent-(sim|daemon)' || :)"
check "the manager has forgotten them" "" "$(as_user systemctl --user list-units --all --no-legend 'agent-*')"
out=$(as_user /srv/checkout/systemd/install-services.sh $project 2>&1); code=$?
check "install-services.sh installs and prints the next commands" "0 *installed agent-*next:*fleet start*enable*" "$code $out"
run uninstall-services >/dev/null

# The same without systemd, on the machine itself.
manager_stop
home=$(mktemp -d /tmp/pid-file-mode.XXXXXX)
trap 'rm -rf "$home"' EXIT
mkdir -p "$home/project/.oodatcaa/work"
cp -r "$root/.oodatcaa/prompts" "$home/project/.oodatcaa/"
printf '[fleet]\nagent = "sim"\ninterval = "1s"\nshutdown_timeout = "3s"\ngrace = "1s"\n' >"$home/project/.oodatcaa/config.toml"
printf 'seconds = 0.3\n' >"$home/project/.oodatcaa/sim.toml"
queue T1 ready >"$home/project/.oodatcaa/work/SPRINT_QUEUE.json"
project=$home/project
as_user() { env -u XDG_RUNTIME_DIR HOME="$home" OODATCAA_BIN_DIR="$bin" "$@"; }
agentctl() { as_user "$bin/agentctl" -C "$project" "$@"; }
run() { as_user make --no-print-directory -C "$root" PROJECT="$project" "$@" 2>&1; }
if [ -d /run/systemd/system ]; then
    echo "SKIP the mode without systemd: this machine runs systemd"
else
    agentctl config trust --yes >/dev/null 2>&1
    out=$(run agents-start); code=$?
    check "without systemd it uses PID files and says why" "0 mode: PID files, because this machine was not booted with systemd*Running: 5/5*" "$code $out"
    within 60 is T1 'done'
    check "a task walks to done there, too" "done" "$(status_of T1)"
    out=$(run agents-restart ROLES=builder); code=$?
    check "restart gives a new process" "0 *builder*stopped*builder*started*" "$code $out"
    out=$(run agents-stop); code=$?
    check "stop stops all" "0 *Running: 0/5*" "$code $out"
    check "and leaves no pid file" "" "$(ls "$project/.agent-daemon-pids")"
fi

echo "$passed passed, $failed failed"
[ $failed = 0 ]
