"""The Kubernetes backend: one namespace of a cluster, a controller per workload."""
