#!/bin/sh
# Does not hear TERM, and neither do a child and a grandchild in a session of its own.
trap '' TERM
sleep 86400 &
setsid sh -c 'sleep 86400 & wait' &
echo "started $OODATCAA_TASK_ID"
wait
