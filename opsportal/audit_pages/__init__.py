"""The audit log's pages. Apart from `opsportal.audit`, which the accounts stand on and which knows no users' rights."""
