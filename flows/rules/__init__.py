"""Pure decisions about renewals, on plain data: no Prefect, no HTTP, no clock."""
