"""Compilation of XLA programs."""

from collections.abc import Iterator

import pytest

from flowray.worker.execution import xla


@pytest.fixture
def fresh_options() -> Iterator[None]:
    xla.compiler_options.cache_clear()
    yield
    xla.compiler_options.cache_clear()


@pytest.mark.usefixtures("fresh_options")
def test_the_jaxlib_that_is_installed_knows_the_options() -> None:
    assert xla.compiler_options()


@pytest.mark.usefixtures("fresh_options")
@pytest.mark.parametrize(
    "options", [{"xla_cpu_no_such_option": "1"}, {"xla_cpu_experimental_ynn_fusion_type": "NONE"}]
)
def test_options_that_jaxlib_does_not_know_are_left_out(
    options: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(xla, "_YNNPACK", options)
    assert xla.compiler_options() == {}
    assert "XLA chooses its libraries itself" in caplog.text
