#!/usr/bin/env bash
# A real `systemd --user` with a journal, on a machine whose PID 1 is something else.
#
# Sourced by a test that runs as root:
#   manager_possible || skip "$why"     whether this machine allows it
#   manager_start                       a user manager is up, in namespaces of its own
#   as_user CMD...                      runs as the unprivileged user, in the user's session
#   as_root CMD...                      runs as root beside it
#   manager_stop                        nothing of it is left; also runs on EXIT
#
# The manager wants four things that a container does not have, and gets each in private namespaces,
# so that nothing of the machine changes: /run/systemd/system (in a tmpfs over /run), cgroups that it
# owns (children of our own ones, below the path of a user's service, which is also what the journal
# sorts its entries by), a user with a home outside /tmp, and a journal that keeps what it gets.
# $user_home here is /home/$user_name in there; $share here is /srv in there.

user_name=fleet
user_id=1979
readonly user_name user_id
# The process inside gets the first three from its starter.
share=${share:-} user_home=${user_home:-} manager_dir=${manager_dir:-} manager_pid= manager_init= why=
manager_groups=()

manager_possible() {
    local tool
    [ "$(id -u)" = 0 ] || { why="needs root to make namespaces"; return 1; }
    for tool in unshare nsenter setpriv mount systemctl systemd-analyze journalctl; do
        command -v "$tool" >/dev/null || { why="needs $tool: scripts/install-test-deps.sh"; return 1; }
    done
    [ -x /lib/systemd/systemd ] && [ -x /lib/systemd/systemd-journald ] || { why="needs systemd"; return 1; }
    unshare --mount --pid --ipc --uts --cgroup --fork mount --make-rprivate / 2>/dev/null ||
        { why="this machine does not let root make namespaces"; return 1; }
    own_groups >/dev/null || { why="no control group of ours can be written"; return 1; }
}

# "name directory" of each hierarchy of control groups that we may make children in.
own_groups() {
    local controllers path name mount found=1
    while IFS=: read -r _ controllers path; do
        case $controllers in
        '') name=unified mount=/sys/fs/cgroup/unified; [ -d $mount ] || mount=/sys/fs/cgroup ;;
        name=systemd) name=systemd mount=/sys/fs/cgroup/systemd ;;
        cpu | cpuacct | cpu,cpuacct | memory | pids) name=$controllers mount=/sys/fs/cgroup/$controllers ;;
        *) continue ;;
        esac
        [ -w "$mount${path%/}" ] || continue
        echo "$name $mount${path%/}"
        found=0
    done </proc/self/cgroup
    return $found
}

manager_start() {
    local name dir state= end=$((SECONDS + ${1:-30}))
    manager_dir=$(mktemp -d /tmp/user-manager.XXXXXX) || return 1
    trap manager_stop EXIT
    chmod 755 "$manager_dir"
    user_home=$manager_dir/home share=$manager_dir/srv
    mkdir -p "$user_home" "$share"
    chown "$user_id:$user_id" "$user_home"
    local hierarchies=
    while read -r name dir; do
        dir=$dir/${manager_dir##*/}
        mkdir -p "$dir/outside" || return 1
        manager_groups+=("$dir")
        [ "$name" = unified ] || hierarchies="$hierarchies $name"
    done < <(own_groups)
    (
        # The children are entered first, and made the roots of a new namespace of control groups.
        for dir in "${manager_groups[@]}"; do echo 0 >"$dir/cgroup.procs"; done
        export manager_dir user_name user_id user_home share hierarchies
        exec setpriv --pdeathsig KILL unshare --cgroup "$BASH" -c '
            for dir in "${@:2}"; do echo 0 >"$dir/outside/cgroup.procs"; done
            exec unshare --mount --pid --ipc --uts --fork --kill-child "$BASH" "$1" inside' \
            - "${BASH_SOURCE[0]}" "${manager_groups[@]}"
    ) </dev/null >"$manager_dir/init.log" 2>&1 &
    manager_pid=$!
    while [ $SECONDS -lt $end ] && kill -0 "$manager_pid" 2>/dev/null; do
        if [ -e "$manager_dir/ready" ]; then
            read -r manager_init _ <"/proc/$manager_pid/task/$manager_pid/children"
            state=$(as_user systemctl --user is-system-running 2>/dev/null)
            case $state in running | degraded) return 0 ;; esac
        fi
        sleep .05
    done
    echo "no user manager came up (${state:-no answer}):" >&2
    tail -n 15 "$manager_dir"/*.log >&2
    return 1
}

# Runs in the namespaces, in the control group $1.
enter() {
    nsenter --target "$manager_init" --mount --pid --cgroup --ipc --uts -- "$BASH" -c '
        while read -r tree; do mkdir -p "$tree/$2"; echo 0 >"$tree/$2/cgroup.procs"; done <"$1/trees"
        exec "${@:3}"' - "$manager_dir" "$@"
}

as_user() {
    enter "user.slice/user-$user_id.slice/user@$user_id.service/session" \
        setpriv --reuid "$user_id" --regid "$user_id" --init-groups --inh-caps=-all \
        env -i HOME="/home/$user_name" USER="$user_name" LOGNAME="$user_name" SHELL=/bin/bash LANG=C.UTF-8 \
        PATH="${user_path:-/usr/local/bin:/usr/bin:/bin}" XDG_RUNTIME_DIR="/run/user/$user_id" \
        SYSTEMD_COLORS=0 SYSTEMD_PAGER='' "$@"
}

as_root() {
    enter outside env SYSTEMD_COLORS=0 SYSTEMD_PAGER='' "$@"
}

manager_stop() {
    local dir
    if [ -n "$manager_pid" ]; then
        # The namespace's first process takes all others with it.
        kill -KILL "$manager_pid" 2>/dev/null
        wait "$manager_pid" 2>/dev/null
        manager_pid=
    fi
    for dir in "${manager_groups[@]}"; do
        for _ in {1..100}; do
            find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null
            [ -d "$dir" ] || break
            sleep .05
        done
    done
    manager_groups=()
    [ -z "$manager_dir" ] || rm -rf "$manager_dir"
    manager_dir=
}

# The first process of the namespaces: prepares them, starts journal and manager, reaps.
inside() {
    set -eu
    local run=/run/user/$user_id service=user.slice/user-$user_id.slice/user@$user_id.service tree name level
    mount --make-rprivate /
    mount -t proc proc /proc
    mount --bind "$share" /srv
    mount -t tmpfs -o mode=755 tmpfs /run
    mount -t tmpfs -o mode=755 tmpfs /var/log
    mount -t tmpfs -o mode=755 tmpfs /home
    mkdir -p "/home/$user_name" "$run" /run/systemd/system /run/systemd/unit-root /run/systemd/journal /var/log/journal
    mount --bind "$user_home" "/home/$user_name"
    chown "$user_id:$user_id" "$run"
    chmod 700 "$run"
    # A persistent journal is one file per user, and that is what `journalctl --user` reads.
    : >/run/systemd/journal/flushed
    cp /etc/passwd "$manager_dir/passwd"
    cp /etc/group "$manager_dir/group"
    echo "$user_name:x:$user_id:$user_id::/home/$user_name:/bin/bash" >>"$manager_dir/passwd"
    echo "$user_name:x:$user_id:" >>"$manager_dir/group"
    chmod 644 "$manager_dir/passwd" "$manager_dir/group"
    mount --bind "$manager_dir/passwd" /etc/passwd
    mount --bind "$manager_dir/group" /etc/group

    umount -R /sys/fs/cgroup
    if [ -n "$hierarchies" ]; then
        mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
        for name in $hierarchies unified; do
            tree=/sys/fs/cgroup/$name
            mkdir "$tree"
            case $name in
            unified) mount -t cgroup2 cgroup2 "$tree" || { rmdir "$tree"; continue; } ;;
            systemd) mount -t cgroup -o none,name=systemd cgroup "$tree" ;;
            *) mount -t cgroup -o "$name" cgroup "$tree" ;;
            esac
            echo "$tree"
        done >"$manager_dir/trees"
    else
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        echo /sys/fs/cgroup >"$manager_dir/trees"
    fi
    while read -r tree; do
        mkdir -p "$tree/$service/session" "$tree/system.slice/systemd-journald.service"
        if [ -e "$tree/cgroup.subtree_control" ]; then
            for level in "$tree" "$tree/user.slice" "$tree/user.slice/user-$user_id.slice"; do
                for name in cpu memory pids; do echo "+$name" >"$level/cgroup.subtree_control" || :; done
            done 2>/dev/null
        fi
        chown -R "$user_id:$user_id" "$tree/$service"
    done <"$manager_dir/trees"

    into() { while read -r tree; do echo 0 >"$tree/$1/cgroup.procs"; done <"$manager_dir/trees"; }
    (into system.slice/systemd-journald.service && exec /lib/systemd/systemd-journald) \
        >"$manager_dir/journal.log" 2>&1 &
    for _ in {1..200}; do [ -S /run/systemd/journal/stdout ] && break; sleep .02; done
    (
        into "$service" && cd / &&
            exec setpriv --reuid "$user_id" --regid "$user_id" --init-groups --inh-caps=-all \
                env -i HOME="/home/$user_name" USER="$user_name" LOGNAME="$user_name" SHELL=/bin/bash LANG=C.UTF-8 \
                PATH=/usr/local/bin:/usr/bin:/bin XDG_RUNTIME_DIR="$run" \
                /lib/systemd/systemd --user --log-target=journal
    ) >"$manager_dir/manager.log" 2>&1 &
    : >"$manager_dir/ready"
    trap 'exit 0' TERM
    while :; do wait -n || sleep 1; done
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    [ "${1:-}" = inside ] || { sed -n '2,/^$/p' "$0"; exit 2; }
    inside
fi
