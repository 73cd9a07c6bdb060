#!/bin/sh
# The workers in the PID-file mode, without systemd: start|stop|restart|status [ROLE...]
# A thin name for `agentctl fleet ... --backend process`, in the project around the working directory.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
case ${1:-} in
start | stop | restart | status)
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
