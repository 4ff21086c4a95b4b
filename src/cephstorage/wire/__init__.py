"""What all HTTP faces share: request targets, problem details, the status table."""
