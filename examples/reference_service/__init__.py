"""The reference service: the smallest real service that keeps every line of docs/service-contract.md."""
