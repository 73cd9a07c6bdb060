#!/bin/sh
# Stops, disables and removes the units of the project in DIR (here when absent): [DIR]
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
exec "$here/scripts/agentctl" -C "${1:-.}" fleet uninstall
