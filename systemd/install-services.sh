#!/bin/sh
# Installs the workers as systemd units of this user, for the project in DIR (here when absent): [DIR]
# Fills in paths and the login shell's PATH, needs no root, and prints the next commands.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
dir=${1:-.}
# Started where it lies, as older guides say, it means the project around it.
[ "$(CDPATH='' cd -- "$dir" && pwd)" != "$here/systemd" ] || dir=$here
exec "$here/scripts/agentctl" -C "$dir" fleet install
