"""The next update repairs manual changes in the cluster without printing secrets."""

from __future__ import annotations

import base64
import json
import uuid

from tests.e2e.counted import counted
from tests.e2e.kubernetes import configuration
from tests.e2e.kubernetes.stack import ClusterStack
from tests.engine.waiting import until
from tests.failures import FailureRecord

TENANT = uuid.uuid4()
BOOKING_TITLE = "kept while people edit the cluster"
MANUAL_VALUE = "value-that-somebody-put-there"


def test_the_next_update_repairs_manual_changes(few_workloads: ClusterStack, failure_record: FailureRecord) -> None:
    stack = few_workloads
    platform = stack.platform()
    assert platform.book(TENANT, title=BOOKING_TITLE).status == 201
    own = stack.outputs().credentials.jwt_secret
    failure_record.begin(
        "A Deployment is scaled to zero and another deleted, a Service deleted, an image and a Secret edited by hand",
        on="Kubernetes",
        effect="only the effect of each change, until the next `up`",
    )
    with counted(platform, failure_record), failure_record.measure_recovery():
        stack.kubectl("scale", "deployment/rdv", "--replicas=0")
        stack.kubectl("delete", "service/kong", "deployment/user", "--wait=true")
        stack.kubectl("set", "image", "deployment/client-pwa", "client-pwa=pti-calendar/no-such-image:1")
        edited = _edit_secret(stack, "rdv")

        previewed = stack.preview("--refresh", "--diff").succeeded()
        # The deleted Deployment also gets a new release.
        stack.change({"services": {"overrides": {"user": {"image": configuration.NEXT_SERVICE_IMAGE}}}})
        repaired = stack.up("--refresh", "--diff").succeeded()
        until("every pod is ready", stack.all_ready)
        platform.check_services()

    assert set(repaired.changes) >= {
        "create Deployment user",
        "create Service kong",
        "update Deployment client-pwa",
        "update Deployment rdv",
    }
    assert stack.kubectl("get", "secret", edited, "--ignore-not-found") == "", "the edited Secret is another now"
    for outcome in (previewed, repaired):
        for secret in (MANUAL_VALUE, own):
            for form in (secret, base64.b64encode(secret.encode()).decode()):
                assert form not in outcome.output
                assert form not in outcome.events()
    assert BOOKING_TITLE in platform.titles(TENANT)
    failure_record.set_lost("nothing")
    stack.preview("--refresh", "--expect-no-changes").succeeded()


def _edit_secret(stack: ClusterStack, workload: str) -> str:
    """Change a value in a workload's immutable Secret by replacing the Secret. Return the Secret's name."""
    (found,) = (
        one
        for one in stack.objects("secrets")
        if one["metadata"]["name"].startswith(f"{workload}-secrets-") and one.get("data")
    )
    key = min(found["data"])
    found["data"][key] = base64.b64encode(MANUAL_VALUE.encode()).decode()
    for server_side in ("uid", "resourceVersion", "creationTimestamp"):
        found["metadata"].pop(server_side)
    stack.kubectl("replace", "--force", "--filename=-", input=json.dumps(found))
    return str(found["metadata"]["name"])
