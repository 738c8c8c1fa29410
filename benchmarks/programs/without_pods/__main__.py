"""The project's own program, with its objects changed on their way to the engine."""

from __future__ import annotations

import runpy

import pulumi

from benchmarks.without_pods import without_pods
from operations.project import ROOT


def transformation(asked: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
    """Change every object of the cluster so that no pod starts; leave other resources unchanged."""
    if asked.type_ == "pulumi:index:Stash" and asked.name.endswith("-ready"):
        # Its hook waits for a rollout, which no controller carries out here.
        asked.opts.hooks = None
        return pulumi.ResourceTransformationResult(asked.props, asked.opts)
    if not asked.type_.startswith("kubernetes:"):
        return None
    return pulumi.ResourceTransformationResult(without_pods(asked.props), asked.opts)


pulumi.runtime.register_stack_transformation(transformation)
runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")
