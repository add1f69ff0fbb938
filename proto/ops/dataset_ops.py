"""Datasets: definitions. A dataset is a scalar of dtype variant.

Attributes that tell TensorFlow only in which way to run the pipeline are hints.
"""

from __future__ import annotations

from typing import Any

from flowray.proto.ops.common_shapes import scalar
from flowray.proto.ops.op_registry import AttrDef, ShapeContext, attr, op
from flowray.proto.types.shapes import Shape

ELEMENTS: dict[str, Any] = {
    "output_types": attr("list(type)", minimum=1),
    "output_shapes": attr("list(shape)", minimum=1),
}
"""The attributes that describe the elements of a dataset: a dtype and a shape per component."""

ARGUMENTS = attr("list(type)", minimum=0)
FUNCTION = attr("func")
INTER_OP = {"use_inter_op_parallelism": True}
COMPONENTS: dict[str, AttrDef] = {
    "Toutput_types": attr("list(type)", minimum=1),
    "output_shapes": ELEMENTS["output_shapes"],
}
"""The attributes of an op whose inputs are the components of an element."""


def components_shape(c: ShapeContext) -> list[Shape]:
    """Returns the shapes of an element's components."""
    return list(c.attr("output_shapes"))


def define_dataset(
    name: str,
    inputs: str,
    *,
    stateful: bool = False,
    hints: dict[str, Any] | None = None,
    typed: bool = True,
    metadata: bool = True,
    blocks: bool = False,
    **attributes: Any,
) -> None:
    """Defines a dataset op.

    Args:
        inputs: the arguments, in the language of signatures.
        hints: attributes that do not change the elements, with their defaults.
        typed: whether the op states its elements' types and shapes.
        metadata: whether the op has the attribute ``metadata``, TensorFlow's name of the pipeline.
            Ops that TensorFlow called experimental once never have it.
    """
    hints = dict(hints or {})
    if metadata and not name.startswith("Experimental"):
        hints["metadata"] = ""
    elements = ELEMENTS if typed else {}
    op(
        name,
        f"{inputs} -> handle: variant",
        **elements,
        **attributes,
        **hints,
        hints=list(hints),
        stateful=stateful,
        blocks=blocks,
        host_only=True,
        differentiable=False,
        shape=scalar,
    )


# Sources ------------------------------------------------------------------------------------------

define_dataset(
    "TensorDataset", "components: [Toutput_types]", typed=False, stateful=True, **COMPONENTS
)
define_dataset(
    "TensorSliceDataset",
    "components: [Toutput_types]",
    typed=False,
    stateful=True,
    **COMPONENTS,
    hints={"is_files": False, "replicate_on_split": False},
)
define_dataset(
    "RangeDataset",
    "start: int64, stop: int64, step: int64",
    stateful=True,
    hints={"replicate_on_split": False},
)
define_dataset("RandomDataset", "seed: int64, seed2: int64", stateful=True)
define_dataset(
    "GeneratorDataset",
    "init_func_other_args: [Tinit_func_args], next_func_other_args: [Tnext_func_args], "
    "finalize_func_other_args: [Tfinalize_func_args]",
    init_func=FUNCTION,
    next_func=FUNCTION,
    finalize_func=FUNCTION,
    Tinit_func_args=ARGUMENTS,
    Tnext_func_args=ARGUMENTS,
    Tfinalize_func_args=ARGUMENTS,
    stateful=True,
)


# Sequences ----------------------------------------------------------------------------------------

for _name in ("RepeatDataset", "TakeDataset", "SkipDataset"):
    define_dataset(_name, "input_dataset: variant, count: int64")
define_dataset("ConcatenateDataset", "input_dataset: variant, another_dataset: variant")
define_dataset("ZipDataset", "input_datasets: N*variant")
define_dataset(
    "ShardDataset",
    "input_dataset: variant, num_shards: int64, index: int64",
    require_non_empty=False,
)
define_dataset(
    "ShuffleDataset",
    "input_dataset: variant, buffer_size: int64, seed: int64, seed2: int64",
    reshuffle_each_iteration=True,
)
define_dataset(
    "ShuffleAndRepeatDataset",
    "input_dataset: variant, buffer_size: int64, seed: int64, seed2: int64, count: int64",
    reshuffle_each_iteration=True,
)
define_dataset(
    "PrefetchDataset",
    "input_dataset: variant, buffer_size: int64",
    hints={"slack_period": 0, "legacy_autotune": True, "buffer_size_min": 0},
)
for _name in ("DirectedInterleaveDataset", "ExperimentalDirectedInterleaveDataset"):
    _stop = {"stop_on_empty_dataset": False} if _name.startswith("D") else {}
    define_dataset(
        _name,
        "selector_input_dataset: variant, data_input_datasets: N*variant",
        **_stop,
        metadata=False,
    )


# What changes nothing -----------------------------------------------------------------------------

_CONFIGS = {"optimization_configs": attr("list(string)", [])}
define_dataset(
    "OptimizeDataset",
    "input_dataset: variant, optimizations: string",
    hints=_CONFIGS,
    metadata=False,
)
define_dataset(
    "OptimizeDatasetV2",
    "input_dataset: variant, optimizations_enabled: string, optimizations_disabled: string, "
    "optimizations_default: string",
    hints=_CONFIGS,
    metadata=False,
)
define_dataset("RewriteDataset", "input_dataset: variant, rewrite_name: string", metadata=False)
define_dataset(
    "ModelDataset",
    "input_dataset: variant",
    hints={"algorithm": 0, "cpu_budget": 0, "ram_budget": 0},
    metadata=False,
)
define_dataset(
    "OptionsDataset", "input_dataset: variant", hints={"serialized_options": attr("string")}
)
define_dataset(
    "FinalizeDataset", "input_dataset: variant", hints={"has_captured_ref": False}, metadata=False
)
for _name in ("", "Experimental"):
    define_dataset(
        f"{_name}MaxIntraOpParallelismDataset",
        "input_dataset: variant, max_intra_op_parallelism: int64",
        metadata=False,
    )
    define_dataset(
        f"{_name}PrivateThreadPoolDataset",
        "input_dataset: variant, num_threads: int64",
        metadata=False,
    )


# What comes out of a dataset in one go ------------------------------------------------------------

op(
    "ReduceDataset",
    "input_dataset: variant, initial_state: [Tstate], other_arguments: [Targuments] "
    "-> components: [output_types]",
    f=FUNCTION,
    Tstate=attr("list(type)", minimum=1),
    Targuments=ARGUMENTS,
    **ELEMENTS,
    **INTER_OP,
    metadata="",
    hints=["metadata", *INTER_OP],
    stateful=True,
    blocks=True,
    host_only=True,
    differentiable=False,
    shape=components_shape,
)
op(
    "DatasetToSingleElement",
    "dataset: variant -> components: [output_types]",
    **ELEMENTS,
    metadata="",
    hints=["metadata"],
    stateful=True,
    blocks=True,
    host_only=True,
    differentiable=False,
    shape=components_shape,
)
for _name in ("DatasetCardinality", "ExperimentalDatasetCardinality"):
    _options = {"cardinality_options": ""} if _name.startswith("D") else {}
    op(
        _name,
        "input_dataset: variant -> cardinality: int64",
        **_options,
        hints=list(_options),
        host_only=True,
        shape=scalar,
    )
