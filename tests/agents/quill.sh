#!/bin/sh
# A made-up agent CLI: JSON lines, an event that ends the run, exit status 0 also when its service refuses it.
set -eu
if [ "${1:-}" = --version ]; then
    echo "quill 1.2.3"
    exit 0
fi
prompt=$(cat)
emit() { printf '%s\n' "$1"; }
emit "{\"type\":\"hello\",\"session\":\"q-1\",\"args\":\"$*\"}"
case "${QUILL_URL:-}" in
http://127.0.0.1:*)
    # Nobody listens there.
    exit 7
    ;;
esac
case "$prompt" in
*QUILL-LIMIT*)
    emit '{"type":"retry","code":429}'
    emit '{"type":"bye","status":"error","error":{"code":429,"message":"too many requests","retry_after":90}}'
    ;;
*QUILL-KEY*)
    emit '{"type":"retry","code":401}'
    emit '{"type":"bye","status":"error","error":{"code":401,"message":"who are you?"}}'
    ;;
*QUILL-VANISH*)
    emit '{"type":"say","words":"I was about to"}'
    ;;
*)
    emit '{"type":"tool","state":"begin","id":"1","name":"write","input":{"path":"quill.txt"}}'
    echo "hello from quill" > quill.txt
    emit '{"type":"tool","state":"end","id":"1","ok":true}'
    emit '{"type":"say","words":"Written, with 429 and 401 in my words."}'
    emit '{"type":"bye","status":"fine","usage":{"in":1200,"out":34,"usd":0.02}}'
    ;;
esac
