#!/bin/sh
# Does its work and says so in the result file.
set -eu
echo "working on $OODATCAA_TASK_ID as $OODATCAA_ROLE"
printf '{"outcome":"done","summary":"did %s"}\n' "$OODATCAA_TASK_ID" > "$OODATCAA_RESULT_FILE"
