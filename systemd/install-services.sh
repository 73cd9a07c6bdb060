#!/bin/sh
# Installs the workers as systemd units of this user, for the project in DIR (here when absent): [DIR]
# Fills in paths and the login shell's PATH, needs no root, and prints the next commands.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
exec "$here/scripts/agentctl" -C "${1:-.}" fleet install
