#!/bin/sh
# Says one word and then nothing more.
echo "started $OODATCAA_TASK_ID"
exec sleep 86400
