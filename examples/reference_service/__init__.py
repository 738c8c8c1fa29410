"""The reference service: a minimal real service that implements all of docs/service-contract.md."""
