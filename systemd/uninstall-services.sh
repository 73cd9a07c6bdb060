#!/bin/sh
# Stops, disables and removes the units of the project in DIR (here when absent): [DIR]
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
dir=${1:-.}
# Started where it lies, as older guides say, it means the project around it.
[ "$(CDPATH='' cd -- "$dir" && pwd)" != "$here/systemd" ] || dir=$here
exec "$here/scripts/agentctl" -C "$dir" fleet uninstall
