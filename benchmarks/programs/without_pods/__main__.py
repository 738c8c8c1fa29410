"""The project's own program, with its objects changed on their way to the engine."""

from __future__ import annotations

import runpy

import pulumi

from benchmarks.without_pods import without_pods
from operations.project import ROOT


def transformation(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
    """Change every object of the cluster so that no pod starts; leave other resources unchanged."""
    if args.type_ == "pulumi:index:Stash" and args.name.endswith("-ready"):
        # A Stash's hook waits for a rollout, which no controller carries out here.
        args.opts.hooks = None
        return pulumi.ResourceTransformationResult(args.props, args.opts)
    if not args.type_.startswith("kubernetes:"):
        return None
    return pulumi.ResourceTransformationResult(without_pods(args.props), args.opts)


pulumi.runtime.register_stack_transformation(transformation)
runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")
