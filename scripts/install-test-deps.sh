#!/bin/sh
# Installs the system packages that the tests use, where it may (Debian and its kin, as root or by sudo without
# a password); else says in one line what to install. Fails only when a test cannot do without.
set -eu
# command:package, what cannot be done without first
needed='git:git jq:jq'
useful='strace:strace unshare:util-linux setpriv:util-linux nsenter:util-linux systemctl:systemd systemd-analyze:systemd journalctl:systemd mkfs.ext4:e2fsprogs mkfs.xfs:xfsprogs xfs_io:xfsprogs mount:mount faketime:faketime tmux:tmux bindfs:bindfs bwrap:bubblewrap podman:podman runc:runc'

missing() {
    for pair in $1; do
        command -v "${pair%%:*}" >/dev/null 2>&1 || echo "${pair#*:}"
    done | sort -u | tr '\n' ' '
}

wanted=$(missing "$needed $useful")
[ -n "$wanted" ] || exit 0
if command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then as=; elif sudo -n true 2>/dev/null; then as='sudo -n'; else as=no; fi
    if [ "$as" != no ]; then
        echo "installing $wanted"
        export DEBIAN_FRONTEND=noninteractive
        # shellcheck disable=SC2086 # both are lists of words
        { $as apt-get update -qq && $as apt-get install -y -qq --no-install-recommends $wanted; } </dev/null >/dev/null || true
    fi
fi
left=$(missing "$needed")
if [ -n "$left" ]; then
    echo "error: the tests need these packages, install them first: apt-get install $left" >&2
    exit 1
fi
left=$(missing "$useful")
if [ -n "$left" ]; then
    echo "note: some tests will be skipped; to run them all: apt-get install $left" >&2
fi
