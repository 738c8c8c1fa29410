"""What a program needs on an API server without controllers: that it waits for nothing there."""

from __future__ import annotations

from typing import Any

import pulumi

# No garbage collector ends a deletion in the foreground.
ANNOTATIONS = {"pulumi.com/skipAwait": "true", "pulumi.com/deletionPropagationPolicy": "background"}


def wait_for_nothing(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
    """A transformation that takes objects as the API server has them."""
    if args.type_ == "pulumi:index:Stash" and args.name.endswith("-ready"):
        # Its hook waits for a rollout, which nothing carries out here.
        args.opts.hooks = None
        return pulumi.ResourceTransformationResult(args.props, args.opts)
    if not args.type_.startswith("kubernetes:"):
        return None
    props: dict[str, Any] = {**args.props}
    metadata = props["metadata"]
    props["metadata"] = {**metadata, "annotations": {**metadata.get("annotations", {}), **ANNOTATIONS}}
    return pulumi.ResourceTransformationResult(props, args.opts)
