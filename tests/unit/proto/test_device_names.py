import pickle

import pytest

from flowray.proto import errors
from flowray.proto.graph import device_names
from flowray.proto.graph.device_names import DeviceSpec

FULL = "/job:worker/replica:0/task:1/device:GPU:2"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", ""),
        ("/", ""),
        (FULL, FULL),
        ("/job:ps/task:0", "/job:ps/task:0"),
        ("/cpu:0", "/device:CPU:0"),
        ("/gpu:1", "/device:GPU:1"),
        ("/GPU:1", "/device:GPU:1"),
        ("GPU:0", "/device:GPU:0"),
        ("/gpu", "/device:GPU:*"),
        ("/cpu:*", "/device:CPU:*"),
        ("/device:gpu:1", "/device:GPU:1"),
        ("/device:GPU:*", "/device:GPU:*"),
        ("/device:GPU", "/device:GPU:*"),
        ("/device:TPU:3", "/device:TPU:3"),
        ("/job:ps/cpu:0", "/job:ps/device:CPU:0"),
        ("/task:1/job:ps", "/job:ps/task:1"),
        ("/job:*/task:*", ""),
        ("/job:worker/replica:3", "/job:worker/replica:3"),
    ],
)
def test_names(name, expected):
    spec = DeviceSpec.from_string(name)
    assert spec.to_string() == str(spec) == device_names.canonical(name) == expected
    assert DeviceSpec.from_string(expected) == spec
    assert device_names.parse(name) == spec
    assert hash(spec) == hash(device_names.parse(expected))


@pytest.mark.parametrize(
    "name",
    ["/nope:1", "/job", "/task:x", "/cpu:0/gpu:0", "/device:CPU:0:1", "/gpu:x", "ps", "/tpu:0"],
)
def test_malformed_names(name):
    with pytest.raises(ValueError, match=r"attribute|number|multiple"):
        DeviceSpec.from_string(name)
    with pytest.raises(errors.InvalidArgumentError, match="Malformed device specification"):
        device_names.parse(name)


def test_fields():
    spec = DeviceSpec.from_string(FULL)
    assert (spec.job, spec.replica, spec.task) == ("worker", 0, 1)
    assert (spec.device_type, spec.device_index) == ("GPU", 2)
    assert spec == DeviceSpec(job="worker", replica=0, task=1, device_type="gpu", device_index=2)
    assert repr(spec) == f"DeviceSpec('{FULL}')"
    assert spec != FULL
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_tensorflow_1_changes_specs_in_place():
    spec = DeviceSpec(job="ps")
    spec.task = "3"
    spec.replica = 0
    spec.device_type = "cpu"
    spec.device_index = 0
    assert spec.to_string() == "/job:ps/replica:0/task:3/device:CPU:0"
    spec.merge_from(DeviceSpec(job="worker", device_type="GPU"))
    assert spec.to_string() == "/job:worker/replica:0/task:3/device:GPU:0"
    spec.job = spec.task = spec.replica = spec.device_type = spec.device_index = None
    assert spec == DeviceSpec()
    assert spec.parse_from_string("/gpu:1") is spec
    assert spec.device_index == 1
    # What was parsed once and remembered is not what was changed.
    DeviceSpec.from_string("/gpu:1").device_index = 9
    assert DeviceSpec.from_string("/gpu:1").device_index == 1


def test_merge():
    assert str(device_names.merge("/job:ps/task:1", "/cpu:0")) == "/job:ps/task:1/device:CPU:0"
    assert str(device_names.merge("/job:ps/gpu:1", "/job:worker")) == "/job:worker/device:GPU:1"
    assert str(device_names.merge(DeviceSpec(), FULL)) == FULL


def test_intersect():
    assert str(device_names.intersect("/job:ps", "/gpu:0")) == "/job:ps/device:GPU:0"
    for a, b, what in [
        ("/job:a", "/job:b", "jobs"),
        ("/replica:0", "/replica:1", "replicas"),
        ("/task:0", "/task:1", "tasks"),
        ("/cpu", "/gpu", "types"),
        ("/gpu:0", "/gpu:1", "ids"),
    ]:
        with pytest.raises(
            errors.InvalidArgumentError, match=f"Cannot merge devices with incompatible {what}: '"
        ):
            device_names.intersect(a, b)


def test_complete_names():
    assert device_names.is_complete(FULL)
    assert not device_names.is_complete("/job:worker/task:1/device:GPU:2")
    assert not device_names.is_complete("")
    assert device_names.full_name("ps", 1) == "/job:ps/replica:0/task:1/device:CPU:0"
    assert device_names.full_name("worker", 1, "GPU", 2) == FULL


def test_task_name():
    assert device_names.task_name(FULL) == "/job:worker/replica:0/task:1"
    assert device_names.task_name("/job:ps/task:0") == "/job:ps/replica:0/task:0"
    with pytest.raises(ValueError, match="no job and task"):
        device_names.task_name("/job:ps")


def test_matches():
    for spec in ("", "/job:worker", "/task:1", "/gpu", "/gpu:2", FULL):
        assert device_names.matches(spec, FULL)
    for spec in ("/job:ps", "/task:0", "/cpu", "/gpu:0", "/replica:1"):
        assert not device_names.matches(spec, FULL)
