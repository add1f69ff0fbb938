"""``tf.data.Options``: a user's wishes for a pipeline. flowray decides most of that itself."""

from __future__ import annotations

from typing import Any, Final

from flowray.client.tf_export import tf_export

_NAMES: Final = (
    "experimental_autotune", "experimental_deterministic", "experimental_distribute",
    "experimental_external_state_policy", "experimental_optimization", "experimental_slack",
    "experimental_stats", "experimental_threading",
)  # fmt: skip


class _Group:
    """A named group of options, any of them: ``options.experimental_threading.x = 1``."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Group) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


@tf_export("data.Options")
class Options:
    """Options of a dataset, None where nothing was said.

    The results of a pipeline do not depend on them, and flowray keeps the order of elements always;
    they are there so that programs which set them run.
    """

    def __init__(self) -> None:
        self.experimental_autotune: Any = None
        self.experimental_deterministic: Any = None
        self.experimental_distribute: Any = _Group()
        self.experimental_external_state_policy: Any = None
        self.experimental_optimization: Any = _Group()
        self.experimental_slack: Any = None
        self.experimental_stats: Any = _Group()
        self.experimental_threading: Any = _Group()

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _NAMES:
            raise AttributeError(f"Cannot set the property {name} on {type(self).__name__}.")
        super().__setattr__(name, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Options) and vars(self) == vars(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]

    def merge(self, other: Options) -> Options:
        """Returns both; the settings of ``other`` win."""
        result = Options()
        for name in _NAMES:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, _Group) and isinstance(theirs, _Group):
                merged = _Group()
                vars(merged).update({**vars(mine), **vars(theirs)})
                setattr(result, name, merged)
            else:
                setattr(result, name, mine if theirs is None else theirs)
        return result
