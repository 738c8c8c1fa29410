"""The program without an engine: what it registers with Pulumi, and the workloads that it hands to a backend."""
