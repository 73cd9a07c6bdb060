#!/bin/sh
# Fails with the status in FAKE_EXIT, without a result file.
echo "cannot do $OODATCAA_TASK_ID" >&2
exit "${FAKE_EXIT:-1}"
