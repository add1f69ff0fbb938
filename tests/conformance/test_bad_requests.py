"""TensorFlow's own server answers bad requests with the codes and texts that flowray's does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from flowray.proto import errors
from tests.wire.bad_requests import GRAPHS, STEPS, Bad, base, good_step
from tests.wire.raw import RawClient

tensorflow = pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def client() -> Iterator[RawClient]:
    server = tensorflow.compat.v1.train.Server.create_local_server()
    client = RawClient(server.target.removeprefix("grpc://"))
    yield client
    client.close()


def asked(table: Mapping[str, Bad[Any]]) -> list[str]:
    return [name for name, bad in table.items() if not bad.not_tensorflow]


@pytest.mark.parametrize("name", asked(STEPS))
def test_steps(client: RawClient, name: str) -> None:
    session = client.create(base())
    with pytest.raises(errors.OpError) as info:
        STEPS[name].what(client, session)
    STEPS[name].check(info.value, ours=False)
    good_step(client, session)


@pytest.mark.parametrize("name", asked(GRAPHS))
def test_graphs(client: RawClient, name: str) -> None:
    with pytest.raises(errors.OpError) as info:
        client.create(GRAPHS[name].what)
    GRAPHS[name].check(info.value, ours=False)
