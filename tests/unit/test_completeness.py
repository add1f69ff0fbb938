"""Every op has its five parts (docs/adding_an_op.md); the exceptions are here, with reasons."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

import pytest

import tests.ops
from flowray.client.gradients import families as _gradients  # noqa: F401 - registers them all
from flowray.client.gradients import registry as gradients
from flowray.proto.ops import common_shapes, op_registry
from flowray.worker import kernel_registry as kernels
from flowray.worker import kernels as _kernels  # noqa: F401 - registers them all
from tests.ops import harness

for _module in pkgutil.iter_modules(tests.ops.__path__, "tests.ops."):
    if _module.name.rpartition(".")[2].startswith("test_"):
        importlib.import_module(_module.name)

OPS = op_registry.registered_ops()
# Before other tests register gradients of their own.
GRADIENTS = frozenset(gradients._registry)

_VARIABLE = "worker/program/loader.py puts the variable into its slot when it loads a stage"
_DEAD = "its outputs can be dead, which no row can say; tests/unit/client/test_cond.py runs it"
_LOOP = "master/passes/loops.py makes a While of the loop that it is a part of"
_STEP = "no row has a stack or an array; tests/unit/worker/test_step_resources.py runs it"
_WRITER = "no row can open a writer; tests/unit/client/test_summary.py runs it"
_PYTHON = "no row can register a Python function; tests/unit/client/test_data.py runs it"
_FUNCTION = "no row has a function; test_function.py, test_cond.py and test_while_loop.py run it"
_DATASET = (
    "no row has a dataset or a function; tests/unit/worker/test_datasets.py runs the kernels, "
    "tests/unit/client/test_data.py the functions"
)
_ITERATOR = "no row has a dataset; tests/unit/client/test_data.py runs iterators"

DATASETS = """
    BatchDataset BatchDatasetV2 CacheDataset ConcatenateDataset DatasetCardinality
    DatasetToSingleElement DatasetToTFRecord DirectedInterleaveDataset
    ExperimentalDatasetCardinality ExperimentalDatasetToTFRecord
    ExperimentalDirectedInterleaveDataset ExperimentalGroupByWindowDataset
    ExperimentalIgnoreErrorsDataset ExperimentalMapAndBatchDataset ExperimentalMapDataset
    ExperimentalMatchingFilesDataset ExperimentalMaxIntraOpParallelismDataset
    ExperimentalParallelInterleaveDataset ExperimentalPrivateThreadPoolDataset
    ExperimentalScanDataset ExperimentalSlidingWindowDataset ExperimentalTakeWhileDataset
    ExperimentalUnbatchDataset ExperimentalUniqueDataset FilterByLastComponentDataset
    FilterDataset FinalizeDataset FixedLengthRecordDataset FixedLengthRecordDatasetV2
    FlatMapDataset GeneratorDataset GroupByWindowDataset IgnoreErrorsDataset InterleaveDataset
    LegacyParallelInterleaveDatasetV2 MapAndBatchDataset MapDataset MatchingFilesDataset
    MaxIntraOpParallelismDataset ModelDataset OptimizeDataset OptimizeDatasetV2 OptionsDataset
    PaddedBatchDataset PaddedBatchDatasetV2 ParallelInterleaveDataset
    ParallelInterleaveDatasetV2 ParallelInterleaveDatasetV3 ParallelInterleaveDatasetV4
    ParallelMapDataset ParallelMapDatasetV2 PrefetchDataset PrivateThreadPoolDataset
    RandomDataset RangeDataset ReduceDataset RepeatDataset RewriteDataset ScanDataset
    ShardDataset ShuffleAndRepeatDataset ShuffleDataset SkipDataset SlidingWindowDataset
    TFRecordDataset TakeDataset TakeWhileDataset TensorDataset TensorSliceDataset
    TextLineDataset UnbatchDataset UniqueDataset WindowDataset ZipDataset
"""

ITERATORS = """
    DeserializeIterator Iterator IteratorFromStringHandle IteratorFromStringHandleV2
    IteratorGetNext IteratorGetNextAsOptional IteratorGetNextSync IteratorToStringHandle
    IteratorV2 MakeIterator OneShotIterator OptionalFromValue OptionalGetValue OptionalHasValue
    OptionalNone SerializeIterator
"""

LOOPS = ["Enter", "Exit", "LoopCond", "NextIteration", "RefEnter", "RefExit", "RefNextIteration"]

STEP_STATE = """
    StackCloseV2 StackPopV2 StackPushV2 StackV2 TensorArrayCloseV3 TensorArrayConcatV3
    TensorArrayGatherV3 TensorArrayGradV3 TensorArrayGradWithShape TensorArrayReadV3
    TensorArrayScatterV3 TensorArraySizeV3 TensorArraySplitV3 TensorArrayV3 TensorArrayWriteV3
"""

NO_KERNEL = {
    **dict.fromkeys(["VarHandleOp", "Variable", "VariableV2"], _VARIABLE),
    **dict.fromkeys(LOOPS, _LOOP),
}

NO_CASE = {
    **NO_KERNEL,
    **dict.fromkeys(["Switch", "Merge", "RefSwitch", "RefMerge"], _DEAD),
    **dict.fromkeys(STEP_STATE.split(), _STEP),
    **dict.fromkeys(
        ["SummaryWriter", "CreateSummaryFileWriter", "ImportEvent", "FlushSummaryWriter",
         "CloseSummaryWriter"], _WRITER,
    ),
    **dict.fromkeys(["PyFunc", "PyFuncStateless"], _PYTHON),
    **dict.fromkeys(
        ["If", "StatelessIf", "Case", "StatelessCase", "PartitionedCall",
         "StatefulPartitionedCall", "While", "StatelessWhile"], _FUNCTION,
    ),
    **dict.fromkeys(DATASETS.split(), _DATASET),
    **dict.fromkeys(ITERATORS.split(), _ITERATOR),
}  # fmt: skip

_WHOLE = "tf.gradients takes a loop as a whole (client/gradients/loops.py)"
NO_GRADIENT = {name: _WHOLE for name in LOOPS if name not in ("Enter", "RefEnter", "LoopCond")}

UNKNOWN_SHAPE: Mapping[str, str] = {}
"""Ops of which nothing is ever known of an output's shape."""

PENDING: Mapping[str, Mapping[str, str]] = {}
"""What ops may lack for now; to be emptied."""


def told(names: set[str]) -> str:
    return "".join(f"\n  {name}, defined at {OPS[name].defined_at}" for name in sorted(names))


def check(lacking: set[str], excused: Mapping[str, str], what: str) -> None:
    """Nobody lacks it but those who are excused, and those do."""
    missing = lacking - set(excused) - set(PENDING.get(what, ()))
    assert not missing, f"these ops have no {what}:{told(missing)}"
    needless = set(excused) - lacking
    assert not needless, f"these ops have a {what}; excuse them no more: {sorted(needless)}"


def test_every_op_has_a_kernel() -> None:
    check(set(OPS) - set(kernels.registered_kernels()), NO_KERNEL, "kernel")


def test_every_op_has_a_shape_function() -> None:
    unknown = {n for n, op in OPS.items() if op.outputs and op.shape is common_shapes.unknown}
    check(unknown, UNKNOWN_SHAPE, "shape function of its own")


def test_every_op_has_a_case() -> None:
    check(set(OPS) - set(harness.CASES), NO_CASE, "case in tests/ops")


def test_every_op_has_a_gradient_or_is_marked() -> None:
    """Its definition marks it, or no output can have a dtype that gradients flow through."""
    lacking = {n for n, op in OPS.items() if n not in GRADIENTS and op.differentiable}
    check(lacking, NO_GRADIENT, "gradient")


@pytest.mark.parametrize("kind", ["kernels", "cases", "gradients"])
def test_nothing_is_there_for_an_op_that_is_not_defined(kind: str) -> None:
    names = {
        "kernels": set(kernels.registered_kernels()),
        "cases": set(harness.CASES),
        "gradients": GRADIENTS,
    }[kind]
    assert names <= set(OPS)
