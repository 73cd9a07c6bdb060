#!/bin/sh
# Writes without an end.
exec yes "all work and no play makes $OODATCAA_TASK_ID a dull task"
