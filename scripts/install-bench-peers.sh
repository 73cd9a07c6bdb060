#!/bin/sh
# Puts the queues that `make bench` compares with below target/peers: nothing of the system is changed, no service
# is started, no root is needed. What cannot be had is named in one line; the bench leaves it out.
set -eu
cd "$(dirname "$0")/.."
root=$PWD/target/peers
mkdir -p "$root"

say() { echo "$*" >&2; }

# task-spooler, nq and beanstalkd: Debian's packages, unpacked.
if command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1; then
    for pair in tsp:task-spooler nq:nq beanstalkd:beanstalkd; do
        program=${pair%%:*} package=${pair#*:}
        [ -x "$root/usr/bin/$program" ] && continue
        work=$(mktemp -d)
        if (cd "$work" && apt-get download -qq "$package") >/dev/null 2>&1 &&
            dpkg-deb -x "$work"/*.deb "$root" && [ -x "$root/usr/bin/$program" ]; then
            say "$program: unpacked"
        else
            say "$program: absent; apt-get update may help, or install $package yourself"
        fi
        rm -rf "$work"
    done
else
    say "task-spooler, nq, beanstalkd: only Debian's packages are known here; install them yourself"
fi

# pueue: built from its sources, which takes some minutes.
if [ -x "$root/bin/pueued" ]; then
    :
elif [ "${PUEUE:-1}" = 1 ] && command -v cargo >/dev/null 2>&1 &&
    cargo install --quiet --locked --root "$root" pueue --version '^4'; then
    say "pueue: built"
else
    say "pueue: absent"
fi
