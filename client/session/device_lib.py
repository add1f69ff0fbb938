"""``tensorflow.python.client.device_lib``: the devices of this process."""

from __future__ import annotations

from flowray.client.session.transport import connect
from flowray.proto.messages import config_pb2


def list_local_devices(session_config: object = None) -> list[config_pb2.DeviceAttributes]:
    """Returns the devices that sessions without a target use in this process.

    Args:
        session_config: accepted for TensorFlow's sake.
    """
    transport = connect("local", config_pb2.ConfigProto())
    try:
        return list(transport.list_devices(""))
    finally:
        transport.close()
