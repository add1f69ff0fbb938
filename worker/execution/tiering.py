"""The tiering policy: whether a run of a segment is interpreted, or runs an XLA program.

A segment has two tiers: the interpreter, which is there at once, and XLA programs, which take
seconds to compile and are mostly, but not always, faster. A program serves one key: one
combination of shapes, dtypes and static values. ``Tiering`` decides for one key of one segment; the
``SegmentHistory`` has what the keys of a segment share.

    COLD -----------> COMPILING ------------> COMPARING <----------> COMPILED
      ^   compiling()     |     compiled()        |    ran() often       |
      |                   | failed()              | ran(), the program   |
      |                   v                       v is not faster        |
      |              INTERPRETED <----------------+                      |
      +------------------------------------------------------------------+
                               discarded()

COLD         The key has no program. Its runs are interpreted until it is due: then ``Compile``.
COMPILING    Runs are interpreted meanwhile, or wait: ``Wait`` while they are long ones and the
             segment has patience left.
COMPARING    Both tiers run until each has enough measured runs; the faster one stays.
             ``TieringOptions.comparison`` may leave this state out.
COMPILED     The program runs; after many runs it is compared again, as kernels get faster, too.
INTERPRETED  The program was not faster. This state is final.

A failure is one of the segment: all of its keys are interpreted from then on.

The policy has no clock, no thread and no lock. Its owner measures, compiles, waits, reports what
happened, and serializes the calls. ``decide`` changes nothing. TensorFlow's counterpart is
DeviceCompilationProfiler (tensorflow/compiler/jit/device_compilation_profiler.cc), which counts the
runs and compilations of a cluster, and does not measure runs: it never compares its two tiers.

docs/decisions/0010-tiering.md tells why there are two sets of options.
"""

from __future__ import annotations

import enum
import math
import statistics
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal

CompileMode = Literal["background", "eager", "never"]

_RECENT_RUNS: Final = 16
"""The number of runs of each tier, of one key, whose times are kept."""


@dataclass(frozen=True)
class Comparison:
    """The rule by which a new program has to prove itself against the interpreter."""

    runs: int
    """The number of measured runs of each tier; their medians are compared. At most 16."""
    least_gain: float
    """The program stays if interpreting takes at least this many times as long."""
    repeat_after: int | None = None
    """A program that stayed is compared again after so many runs; None: never."""
    in_doubt_only: bool = False
    """Whether the two take turns only if the program's first runs are not clearly faster than the
    quickest interpreted run before it."""

    def __post_init__(self) -> None:
        assert 0 < self.runs <= _RECENT_RUNS


@dataclass(frozen=True)
class TieringOptions:
    """The parameters of the policy. All times are in seconds."""

    cheap: float
    """A run that is not longer costs what calling a program costs: a segment stays interpreted if
    its quickest run was as short."""
    runs_to_judge: int
    """The number of runs after which a segment may be called cheap."""
    slow_runs: int
    """The number of runs longer than ``cheap`` that make a key due to be compiled."""
    mode: CompileMode = "background"
    """Mode "never" interprets all runs, and "eager" compiles before the first one."""
    expensive: float = math.inf
    """A segment whose runs are longer is due after the first one."""
    most_programs: int | None = None
    """A key is due only if at least one in so many slow runs of the segment was its own: a program
    for each of many rare shapes would never pay for its compilation. None: slow runs of any key
    make all keys of the segment due."""
    most_keys: int | None = None
    """The number of keys whose runs are counted; runs of further ones are interpreted."""
    runs_to_give_up: int | None = None
    """A segment without a program stays interpreted after so many interpreted runs."""
    long_run: float = math.inf
    """An interpreted run as long as that waits for its program if that is being compiled."""
    patience: float = 0.0
    """The time that all such waits of a segment may cost."""
    comparison: Comparison | None = None
    """None: a program replaces the interpreter without being compared."""


STEPS: Final = TieringOptions(
    # A call of a program takes 9 us where numpy takes 2 us for a single add (decision 2).
    cheap=100e-6,
    runs_to_judge=1,
    # Work that is done only once, as by initializers, is never compiled (decision 2).
    slow_runs=2,
    # A first run is slow for many reasons, but none of them takes as long as this.
    expensive=5e-3,
    # Interpreting competes with the compiler for the cores and for the GIL: the CNN's first 30
    # steps are a tenth quicker if the second one waits (decision 2).
    long_run=20e-3,
    patience=1.0,
)
"""For the segments of stages, each of which runs once per step."""

PIPELINES: Final = TieringOptions(
    # Elements are interpreted several at a time where nothing is compiled, which saves more.
    cheap=150e-6,
    runs_to_judge=16,
    # A shape costs a compilation of 0.1 s, and images come in many shapes (decision 9).
    slow_runs=3,
    most_programs=8,
    most_keys=256,
    runs_to_give_up=128,
    # A program uses threads that other elements miss meanwhile, so it must be faster by a fifth. It
    # is compared again, because numba's loops may replace kernels on numpy later (decision 9).
    comparison=Comparison(runs=8, least_gain=1.2, repeat_after=512),
)
"""For the segments of functions of tf.data, which run once per element, in several threads."""


class Tier(enum.Enum):
    """The two ways to run a segment."""

    INTERPRETED = "interpreted"
    COMPILED = "compiled"


@dataclass(frozen=True, slots=True)
class Interpret:
    """Interpret this run."""


@dataclass(frozen=True, slots=True)
class Run:
    """Run the program."""


@dataclass(frozen=True, slots=True)
class Compile:
    """Compile a program, report ``compiling``, and ask again."""

    in_background: bool
    """Whether to start it in another thread, rather than do it before the run."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until the program is compiled, report ``waited``, and ask again."""

    seconds: float
    """The longest time to wait."""


Decision = Interpret | Run | Compile | Wait

_INTERPRET: Final = Interpret()
_RUN: Final = Run()


@dataclass(slots=True)
class SegmentHistory:
    """Measurements of one segment that all of its keys share."""

    options: TieringOptions
    runs: int = 0
    """The number of interpreted runs."""
    slow_runs: int = 0
    """The number of those that were longer than ``options.cheap``."""
    quickest: float = math.inf
    """The time of the quickest interpreted run, in seconds."""
    patience: float = field(init=False)
    """The time that waits may still cost, in seconds."""
    programs: int = 0
    """The number of keys that have a program or are getting one."""
    keys: int = 0
    is_failed: bool = False
    """Whether XLA cannot compile the segment."""
    is_settled: bool = False
    """Whether all further runs are interpreted, whatever their keys. They need not be reported."""

    def __post_init__(self) -> None:
        self.patience = self.options.patience
        self.is_settled = self.options.mode == "never"

    def add_key(self) -> Tiering | None:
        """Returns the policy for a new key; None if there are too many, so that it is interpreted.

        Runs without a policy are reported to the history's own ``ran``.
        """
        limit = self.options.most_keys
        if limit is not None and self.keys >= limit:
            return None
        self.keys += 1
        return Tiering(self)

    def ran(self, seconds: float) -> None:
        """Notes an interpreted run."""
        self.runs += 1
        self.quickest = min(self.quickest, seconds)
        if seconds > self.options.cheap:
            self.slow_runs += 1
        self._settle()

    def lost_program(self) -> None:
        """Notes that a key has no program any more."""
        self.programs -= 1
        self._settle()

    def _settle(self) -> None:
        if not self.programs and self.options.mode == "background":
            self.is_settled = self.is_settled or self.is_cheap or self.has_given_up

    def failed(self) -> None:
        """Notes that XLA cannot compile the segment."""
        self.is_failed = self.is_settled = True

    @property
    def is_cheap(self) -> bool:
        """Tells whether interpreting costs no more than a program's call would."""
        return self.runs >= self.options.runs_to_judge and self.quickest <= self.options.cheap

    @property
    def has_programs(self) -> bool:
        """Tells whether any key has a program that stays, or may get one."""
        return self.programs > 0 and not self.is_failed

    @property
    def is_slow(self) -> bool:
        """Tells whether enough runs of any keys were slow."""
        return self.slow_runs >= self.options.slow_runs or (
            self.runs > 0 and self.quickest > self.options.expensive
        )

    @property
    def has_given_up(self) -> bool:
        """Tells whether the segment had runs enough to get a program that stayed, but has none."""
        limit = self.options.runs_to_give_up
        return limit is not None and self.runs >= limit and not self.programs

    @property
    def stays_interpreted(self) -> bool:
        """Tells whether the next run is interpreted whatever its key, so that none is needed."""
        if self.is_settled or self.programs or self.options.mode == "eager":
            return self.is_settled
        return self.options.most_programs is None and not self.is_slow

    def describe(self) -> str:
        """Returns one line for logs."""
        if not self.runs:
            return "no interpreted run"
        return f"{self.runs} interpreted runs, the quickest {_milliseconds(self.quickest)}"


class _State(enum.Enum):
    COLD = "no program"
    COMPILING = "being compiled"
    COMPARING = "compared"
    COMPILED = "compiled"
    INTERPRETED = "interpreted for good"


class Tiering:
    """Decides in which tier the runs of one key of a segment run (see the module's docstring).

    Args:
        history: of the segment.
    """

    def __init__(self, history: SegmentHistory) -> None:
        self._history = history
        options = history.options
        self._comparison = None if options.mode == "eager" else options.comparison
        self._state = _State.COLD
        self._why = ""
        self._slow_runs = 0
        self._quickest = math.inf
        """The quickest interpreted run of this key."""
        self._runs_since = 0
        """The number of runs since the last comparison."""
        self._compile_seconds = 0.0
        self.is_settled = False
        """Whether all further runs run the program, unless it is discarded. They need not be
        reported."""
        self._seconds: dict[Tier, deque[float]] = {t: deque(maxlen=_RECENT_RUNS) for t in Tier}

    @property
    def has_program(self) -> bool:
        """Tells whether the key has a program that may be run."""
        return self._state in (_State.COMPARING, _State.COMPILED)

    def decide(self) -> Decision:
        """Returns what to do next for a run. Nothing changes until events are reported."""
        history = self._history
        mode = history.options.mode
        if history.is_failed or mode == "never":
            return _INTERPRET
        match self._state:
            case _State.COMPILED:
                return _RUN
            case _State.COLD if mode == "eager":
                return Compile(in_background=False)
            case _State.COLD:
                return Compile(in_background=True) if self._is_due() else _INTERPRET
            case _State.COMPILING if mode == "eager":  # another thread compiles
                return Wait(math.inf)
            case _State.COMPILING:
                is_long = history.quickest >= history.options.long_run
                return Wait(history.patience) if is_long and history.patience > 0 else _INTERPRET
            case _State.COMPARING:
                return _RUN if self._is_turn_of_program() else _INTERPRET
            case _State.INTERPRETED:
                return _INTERPRET

    # Events ---------------------------------------------------------------------------------

    def compiling(self) -> None:
        """Notes that a compilation has begun, as ``decide`` asked."""
        self._state, self._why = _State.COMPILING, "due"
        self._history.programs += 1

    def compiled(self, seconds: float) -> None:
        """Notes that the program is ready; compiling it took ``seconds``."""
        self._compile_seconds = seconds
        if self._comparison is None:
            self._state, self._why = _State.COMPILED, "not compared"
        else:
            self._begin_comparison()

    def failed(self) -> None:
        """Notes that XLA cannot compile the segment, for this key or any other."""
        self._history.failed()

    def discarded(self) -> None:
        """Notes that the program, or its compilation, is of no use. The key may get another one."""
        self._state, self._why = _State.COLD, "the last one was discarded"
        self.is_settled = False
        self._history.lost_program()

    def waited(self, seconds: float) -> None:
        """Notes that a run waited for its program.

        If the program came, the run need not be interpreted, which would have taken time as well.
        """
        saved = self._history.quickest if self.has_program else 0.0
        self._history.patience -= max(seconds - saved, 0.0)

    def ran(self, tier: Tier, seconds: float) -> None:
        """Notes that a run in ``tier`` took ``seconds``."""
        self._seconds[tier].append(seconds)
        if tier is Tier.INTERPRETED:
            self._history.ran(seconds)
            self._quickest = min(self._quickest, seconds)
            if seconds > self._history.options.cheap:
                self._slow_runs += 1
        comparison = self._comparison
        if self._state is _State.COMPARING:
            assert comparison is not None
            self._compare(comparison)
        elif self._state is not _State.COMPILED:
            return
        elif comparison is None or comparison.repeat_after is None:
            self.is_settled = len(self._seconds[Tier.COMPILED]) == _RECENT_RUNS
        else:
            self._runs_since += 1
            if self._runs_since >= comparison.repeat_after:
                self._begin_comparison()

    # Rules ----------------------------------------------------------------------------------

    def _is_due(self) -> bool:
        history = self._history
        share = history.options.most_programs
        if history.is_cheap or history.has_given_up:
            return False
        if share is None:
            return history.is_slow
        return self._slow_runs >= max(history.options.slow_runs, history.slow_runs // share)

    def _begin_comparison(self) -> None:
        self._state, self._why = _State.COMPARING, "both tiers run in turns"
        self._runs_since = 0
        for seconds in self._seconds.values():
            seconds.clear()

    def _is_turn_of_program(self) -> bool:
        comparison = self._comparison
        assert comparison is not None
        compiled, interpreted = (len(self._seconds[t]) for t in (Tier.COMPILED, Tier.INTERPRETED))
        if comparison.in_doubt_only and compiled < comparison.runs:
            return True
        return compiled <= interpreted

    def _compare(self, comparison: Comparison) -> None:
        compiled, interpreted = self._seconds[Tier.COMPILED], self._seconds[Tier.INTERPRETED]
        if len(compiled) < comparison.runs:
            return
        limit = comparison.least_gain * statistics.median(compiled)
        if comparison.in_doubt_only and self._quickest >= limit:
            self._state, self._why = _State.COMPILED, "faster than any interpreted run"
        elif len(interpreted) >= comparison.runs:
            if statistics.median(interpreted) >= limit:
                self._state, self._why = _State.COMPILED, "faster"
            else:
                self._state, self._why = _State.INTERPRETED, "its program was not faster"
                self._history.lost_program()

    def describe(self) -> str:
        """Returns one line for logs: the tier, the reason, and the medians of recent runs."""
        if self._history.is_failed:
            return "interpreted for good (XLA cannot compile the segment)"
        parts = [f"{self._state.value} ({self._why or self._cold_reason()})"]
        for tier, seconds in self._seconds.items():
            if seconds:
                median = _milliseconds(statistics.median(seconds))
                parts.append(f"{tier.value} runs take {median} (median of {len(seconds)})")
        if self._compile_seconds:
            parts.append(f"compiling took {self._compile_seconds:.2f} s")
        return "; ".join(parts)

    def _cold_reason(self) -> str:
        """Returns the reason why a key that never had a program has none."""
        history = self._history
        if history.options.mode == "never":
            return "the mode is never"
        if history.is_cheap:
            return "interpreting is cheap"
        if history.options.most_programs and self._slow_runs >= history.options.slow_runs:
            return f"{self._slow_runs} of {history.slow_runs} slow runs are too few"
        return "too few slow runs"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"
