#!/bin/sh
# Makes the work pool, a work queue of higher priority for what a person starts by hand, and the deployments. What is there
# already stays as it is, apart from what the table in docs/operating.md says of `prefect deploy --all`.
set -eu
prefect server status --wait --timeout 120
prefect work-pool inspect perennial > /dev/null 2>&1 || prefect work-pool create perennial --type process
prefect work-queue inspect by-hand --pool perennial > /dev/null 2>&1 \
    || prefect work-queue create by-hand --pool perennial --priority 1
prefect --no-prompt deploy --all
