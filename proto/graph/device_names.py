"""Names of devices: ``/job:J/replica:R/task:N/device:TYPE:ID``, whole or in part.

Every function takes a name or a DeviceSpec. Names are parsed once and remembered, so it is cheap to
call these functions for every node of a graph.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from flowray.proto import errors


class _Fields(NamedTuple):
    """The parts of a name; None for those that it does not say."""

    job: str | None = None
    replica: int | None = None
    task: int | None = None
    device_type: str | None = None
    device_index: int | None = None


_FIELD_NAMES = {
    "job": "jobs",
    "replica": "replicas",
    "task": "tasks",
    "device_type": "types",
    "device_index": "ids",
}


@lru_cache(maxsize=65536)
def _parse(name: str) -> _Fields:
    job: str | None = None
    replica = task = index = None
    device_type: str | None = None
    for part in name.split("/"):
        match part.split(":"):
            case [""]:
                continue
            case ["job", value]:
                job = None if value == "*" else value
                continue
            case ["replica", value]:
                replica = _number(value, name)
                continue
            case ["task", value]:
                task = _number(value, name)
                continue
            case ["device", kind, *rest] if len(rest) < 2:
                pass
            case [kind, *rest] if len(rest) < 2 and kind.upper() in ("CPU", "GPU"):
                pass
            case [unknown, *_]:
                raise ValueError(f"Unknown attribute: '{unknown}' in '{name}'")
        if device_type is not None:
            raise ValueError(f"Cannot specify multiple device types: {name}")
        device_type = None if kind == "*" else _device_type(kind)
        index = _number(rest[0], name) if rest else None
    return _Fields(job or None, replica, task, device_type, index)


def _number(text: str, name: str) -> int | None:
    if text == "*":
        return None
    if not text.isdecimal():
        raise ValueError(f"'{text}' is not a number in the device name '{name}'")
    return int(text)


def _device_type(text: Any) -> str | None:
    if text is None:
        return None
    name = str(text)
    return name.upper() if name.lower() in ("cpu", "gpu") else name


@lru_cache(maxsize=65536)
def _format(fields: _Fields) -> str:
    text = ""
    if fields.job is not None:
        text += f"/job:{fields.job}"
    if fields.replica is not None:
        text += f"/replica:{fields.replica}"
    if fields.task is not None:
        text += f"/task:{fields.task}"
    if fields.device_type is not None:
        index = "*" if fields.device_index is None else fields.device_index
        text += f"/device:{fields.device_type}:{index}"
    return text


def _overlay(outer: _Fields, inner: _Fields) -> _Fields:
    return outer._replace(
        **{name: value for name, value in inner._asdict().items() if value is not None}
    )


class DeviceSpec:
    """A device name, whole or in part: TensorFlow 1's ``tf.DeviceSpec``.

    Equal specs have equal hashes. The fields can be assigned, and ``merge_from`` and
    ``parse_from_string`` change the spec, as in TensorFlow 1; flowray itself never changes a spec.
    ``str`` gives the canonical name.
    """

    __slots__ = ("_fields",)

    def __init__(
        self,
        job: Any = None,
        replica: Any = None,
        task: Any = None,
        device_type: Any = None,
        device_index: Any = None,
    ) -> None:
        self._fields = _Fields(
            None if job is None else str(job),
            None if replica is None else int(replica),
            None if task is None else int(task),
            _device_type(device_type),
            None if device_index is None else int(device_index),
        )

    @classmethod
    def from_string(cls, spec: str) -> DeviceSpec:
        """Returns the spec of a name such as "/job:ps/task:0", "/gpu:0", "/device:GPU:1" or "".

        Raises:
            ValueError: it is not a device name.
        """
        return _of(_parse(spec))

    def parse_from_string(self, spec: str) -> DeviceSpec:
        """Replaces all fields by those of the name; returns the spec itself."""
        self._fields = _parse(spec)
        return self

    def merge_from(self, dev: DeviceSpec) -> None:
        """Sets the fields that ``dev`` says."""
        self._fields = _overlay(self._fields, dev._fields)

    def to_string(self) -> str:
        """Returns the canonical name: "/job:ps/task:0/device:GPU:*"."""
        return _format(self._fields)

    @property
    def job(self) -> str | None:
        """The job; None if the name does not say it."""
        return self._fields.job

    @job.setter
    def job(self, value: Any) -> None:
        self._fields = self._fields._replace(job=None if value is None else str(value))

    @property
    def replica(self) -> int | None:
        """The replica; None if the name does not say it."""
        return self._fields.replica

    @replica.setter
    def replica(self, value: Any) -> None:
        self._fields = self._fields._replace(replica=None if value is None else int(value))

    @property
    def task(self) -> int | None:
        """The task; None if the name does not say it."""
        return self._fields.task

    @task.setter
    def task(self, value: Any) -> None:
        self._fields = self._fields._replace(task=None if value is None else int(value))

    @property
    def device_type(self) -> str | None:
        """The type, such as "CPU"; None if the name does not say it."""
        return self._fields.device_type

    @device_type.setter
    def device_type(self, value: Any) -> None:
        self._fields = self._fields._replace(device_type=_device_type(value))

    @property
    def device_index(self) -> int | None:
        """The index among the devices of the type; None if the name does not say it."""
        return self._fields.device_index

    @device_index.setter
    def device_index(self, value: Any) -> None:
        self._fields = self._fields._replace(device_index=None if value is None else int(value))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DeviceSpec):
            return NotImplemented
        return self._fields == other._fields

    def __hash__(self) -> int:
        return hash(self._fields)

    def __str__(self) -> str:
        return _format(self._fields)

    def __repr__(self) -> str:
        return f"DeviceSpec({self.to_string()!r})"

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return DeviceSpec, tuple(self._fields)


def _of(fields: _Fields) -> DeviceSpec:
    spec = DeviceSpec.__new__(DeviceSpec)
    spec._fields = fields
    return spec


def _fields(spec: DeviceSpec | str) -> _Fields:
    return _parse(spec) if isinstance(spec, str) else spec._fields


def parse(name: str) -> DeviceSpec:
    """Returns the spec of a name; InvalidArgumentError, with TensorFlow's text, if malformed."""
    try:
        return _of(_parse(name))
    except ValueError:
        raise errors.invalid_argument(f"Malformed device specification '{name}'") from None


def canonical(spec: DeviceSpec | str) -> str:
    """Returns the canonical form of a name: "/gpu:0" is "/device:GPU:0"."""
    return _format(_fields(spec))


def full_name(
    job: str, task: int, device_type: str = "CPU", device_index: int = 0, *, replica: int = 0
) -> str:
    """Returns the complete name of a device: "/job:ps/replica:0/task:1/device:CPU:0"."""
    return _format(_Fields(job, replica, task, device_type, device_index))


def merge(outer: DeviceSpec | str, inner: DeviceSpec | str) -> DeviceSpec:
    """Returns the fields of ``inner``, and those of ``outer`` that ``inner`` does not say.

    Nested ``tf.device`` blocks merge their names in this way.
    """
    return _of(_overlay(_fields(outer), _fields(inner)))


def intersect(a: DeviceSpec | str, b: DeviceSpec | str) -> DeviceSpec:
    """Returns the fields of both, which colocation demands.

    Raises:
        InvalidArgumentError: they contradict each other (TensorFlow's text).
    """
    left, right = _fields(a), _fields(b)
    for name, x, y in zip(_Fields._fields, left, right, strict=True):
        if x is not None and y is not None and x != y:
            raise errors.invalid_argument(
                f"Cannot merge devices with incompatible {_FIELD_NAMES[name]}: "
                f"'{_format(left)}' and '{_format(right)}'"
            )
    return _of(_overlay(left, right))


def is_complete(spec: DeviceSpec | str) -> bool:
    """Returns whether the name says all fields, so that it stands for exactly one device."""
    return None not in _fields(spec)


def task_name(spec: DeviceSpec | str) -> str:
    """Returns the task of the device: "/job:ps/replica:0/task:1"; the replica is 0 by default.

    Raises:
        ValueError: the name has no job or no task.
    """
    fields = _fields(spec)
    if fields.job is None or fields.task is None:
        raise ValueError(f"no job and task in the device name '{_format(fields)}'")
    return f"/job:{fields.job}/replica:{fields.replica or 0}/task:{fields.task}"


def matches(spec: DeviceSpec | str, full: DeviceSpec | str) -> bool:
    """Returns whether ``full`` is one of the devices that ``spec`` stands for."""
    return all(
        wanted is None or wanted == given
        for wanted, given in zip(_fields(spec), _fields(full), strict=True)
    )
