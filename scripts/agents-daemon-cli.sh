#!/bin/sh
# The workers in the PID-file mode, without systemd: start|stop|restart|status [ROLE...]
# A thin name for `agentctl fleet ... --backend process`, in the project around the working directory.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
case ${1:-} in
status)
    # Whoever runs is told, also what systemd keeps.
    shift
    exec "$here/agentctl" fleet status "$@"
    ;;
start | stop | restart)
    verb=$1
    shift
    exec "$here/agentctl" fleet "$verb" --backend process "$@"
    ;;
-h | --help | help)
    echo "usage: $0 start|stop|restart|status [ROLE...]"
    ;;
*)
    echo "usage: $0 start|stop|restart|status [ROLE...]" >&2
    exit 2
    ;;
esac
