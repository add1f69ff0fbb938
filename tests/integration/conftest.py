"""One cluster for the tests that leave it as they found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.cluster import Cluster, running


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A parameter server and two workers; no request may have more than 48 MiB."""
    with running("--job", "ps=1", "--job", "worker=2", "--max-message", "48") as cluster:
        yield cluster
