"""How the Kubernetes backend handles files and secret values."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import pytest

from recording.recorder import Recording
from tests.unit.kubernetes_recording import container_spec, pod_template_of, recording_of, workload
from workloads import FileSet, Workload, WorkloadError

PASSWORD = "s3cret-words"


def web(content: str = "A", *, secret: bool = False, **fields: Any) -> Workload:
    """Return a workload with one file."""
    one = FileSet(name="configuration", directory="/etc/web", files={"a.conf": content}, secret=secret)
    return workload(file_sets=(one,), **fields)


def volume(recording: Recording[Any]) -> Mapping[str, Any]:
    """Return the only volume of the pods."""
    (found,) = pod_template_of(recording)["spec"]["volumes"]
    assert isinstance(found, dict)
    return found


def decoded(secret: Mapping[str, Any]) -> dict[str, str]:
    """Return the values that the pods read."""
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


class TestFiles:
    def test_files_are_mounted_read_only_at_their_path(self) -> None:
        recording = recording_of(web())
        assert recording.get("ConfigMap", "web-configuration").inputs["data"] == {"a.conf": "A"}
        (mount,) = container_spec(recording)["volumeMounts"]
        assert mount == {"name": volume(recording)["name"], "mountPath": "/etc/web", "readOnly": True}

    def test_every_user_can_read_files_and_only_the_group_can_read_secrets(self) -> None:
        assert volume(recording_of(web()))["configMap"]["defaultMode"] == 0o444
        assert volume(recording_of(web(secret=True)))["secret"]["defaultMode"] == 0o440

    @pytest.mark.parametrize(("secret", "kind"), [(False, "ConfigMap"), (True, "Secret")])
    def test_file_sets_are_immutable_and_have_generated_names(self, secret: bool, kind: str) -> None:
        made = recording_of(web(secret=secret)).get(kind, "web-configuration").inputs
        assert made["immutable"] is True
        assert "name" not in made["metadata"]

    @pytest.mark.parametrize("secret", [False, True])
    def test_new_contents_roll_the_pods(self, secret: bool) -> None:
        before, after = (
            pod_template_of(recording_of(web("A", secret=secret))),
            pod_template_of(recording_of(web("B", secret=secret))),
        )
        assert before != after
        assert pod_template_of(recording_of(web("A", secret=secret))) == before

    def test_a_file_set_that_exceeds_one_object_is_refused(self) -> None:
        with pytest.raises(WorkloadError, match="the files of 'configuration' have 1048577 bytes, but one ConfigMap"):
            recording_of(web("x" * (1024 * 1024 + 1)))


class TestSecrets:
    RECORDING = recording_of(web(PASSWORD, secret=True))

    def test_the_objects_have_the_given_contents(self) -> None:
        assert decoded(self.RECORDING.get("Secret", "web-configuration").inputs) == {"a.conf": PASSWORD}

    def test_each_value_is_encrypted_in_the_state(self) -> None:
        assert self.RECORDING.get("Secret", "web-configuration").secret == {"data.a.conf"}

    def test_a_secret_value_is_in_no_other_object(self) -> None:
        shapes = (PASSWORD, base64.b64encode(PASSWORD.encode()).decode())
        holders = {
            one.name for one in self.RECORDING.registrations if any(shape in str(one.inputs) for shape in shapes)
        }
        assert holders == {"web-configuration"}
