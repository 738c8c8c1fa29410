"""Changes for a program on an API server without controllers, so that it doesn't wait."""

from __future__ import annotations

from typing import Any

import pulumi

# No garbage collector runs here, so a foreground deletion would never complete.
ANNOTATIONS = {"pulumi.com/skipAwait": "true", "pulumi.com/deletionPropagationPolicy": "background"}


def wait_for_nothing(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
    """Return a transformation that accepts objects as the API server stores them."""
    if args.type_ == "pulumi:index:Stash" and args.name.endswith("-ready"):
        # A Stash's hook waits for a rollout, which no controller carries out here.
        args.opts.hooks = None
        return pulumi.ResourceTransformationResult(args.props, args.opts)
    if not args.type_.startswith("kubernetes:"):
        return None
    props: dict[str, Any] = {**args.props}
    metadata = props["metadata"]
    props["metadata"] = {**metadata, "annotations": {**metadata.get("annotations", {}), **ANNOTATIONS}}
    return pulumi.ResourceTransformationResult(props, args.opts)
