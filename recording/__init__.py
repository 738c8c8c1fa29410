"""The program without an engine: its registrations with Pulumi, and the workloads that it passes to a backend."""
