"""Gradients of the ops that call functions.

The gradient of a function is a function, too: of its arguments and the gradients by its results. It
computes again what it needs of the function, which must therefore do nothing but compute. Of a
loop, it needs the loop variables of every iteration: another loop pushes these on stacks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flowray.client.framework.conversion import constant, convert_to_tensor
from flowray.client.framework.function import (
    FuncGraph,
    TracedFunction,
    rehearse,
    trace,
    trace_loop,
)
from flowray.client.framework.graph import (
    Graph,
    Operation,
    Tensor,
    control_dependencies,
    get_default_graph,
)
from flowray.client.framework.import_graph import import_graph_def
from flowray.client.framework.op_builder import apply_op, make_op, output_of
from flowray.client.framework.shape_inference import variable_of
from flowray.client.gradients.engine import gradients
from flowray.client.gradients.registry import gradient
from flowray.client.gradients.walk import is_trainable
from flowray.client.ops.functional_ops import call
from flowray.proto.graph import functions
from flowray.proto.messages import graph_pb2
from flowray.proto.ops import op_registry
from flowray.proto.ops.op_registry import OpDef, OpKind
from flowray.proto.types import dtypes
from flowray.proto.types.shapes import Shape


def _library(graph: Graph) -> dict[str, graph_pb2.FunctionDef]:
    root = getattr(graph, "root", graph)
    return {definition.signature.name: definition for definition in root._library.function}


def _check_repeatable(
    function: str, library: dict[str, graph_pb2.FunctionDef], seen: frozenset[str] = frozenset()
) -> None:
    """Raises NotImplementedError if a function has effects."""
    if function not in library:
        raise LookupError(f"Function {function} is not defined.")
    for node in library[function].node_def:
        for called in functions.called_functions(node):
            if called not in seen:
                _check_repeatable(called, library, seen | {function})
        calls = bool(functions.called_functions(node)) or node.op in library
        if not calls and not _is_repeatable(op_registry.lookup(node.op)):
            raise NotImplementedError(
                f"There is no gradient through function {function}: its node '{node.name}' "
                f"({node.op}) has effects, or gives something else each time"
            )


def _is_repeatable(op: OpDef) -> bool:
    """Tells whether the op gives the same when it runs again in a step."""
    return not op.stateful or op.reads_only or op.step_state or op.kind is OpKind.VARIABLE


def _inlined(function: graph_pb2.NameAttrList, arguments: Sequence[Tensor]) -> list[Tensor]:
    """Copies the body of a function of the library into the default graph."""
    library = _library(get_default_graph())
    body = functions.body_of(library[function.name], function.attr, library)
    values = dict(zip(body.inputs, arguments, strict=True))
    used = {name for node in body.graph.node for name in node.input}
    made = list(dict.fromkeys(name for name in body.outputs if name not in values))
    elements: Any = import_graph_def(
        body.graph, {k: v for k, v in values.items() if k in used}, made, name=function.name
    )
    values.update(zip(made, elements or (), strict=True))
    return [values[name] for name in body.outputs]


def _scope() -> str:
    """Returns the scope of this call of ``tf.gradients``, by which arrays in functions know it."""
    parts = get_default_graph().get_name_scope().split("/")
    found = [i for i, part in enumerate(parts) if part.startswith("gradients")]
    return "/".join(parts[: found[-1] + 1]) if found else "gradients"


def _differentiated(
    function: graph_pb2.NameAttrList,
    xs: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    scope: str,
) -> list[Tensor | None]:
    """Returns the gradients by ``xs``, dense, of a function for gradients of its results."""
    ys = _inlined(function, xs)
    pairs = [(y, g) for y, g in zip(ys, grads, strict=True) if g is not None and is_trainable(y)]
    wanted = [x for x in xs if is_trainable(x)]
    if not pairs or not wanted:
        return [None] * len(xs)
    found = gradients([y for y, _ in pairs], wanted, [g for _, g in pairs], name=scope)
    by_x = {x: g if g is None else convert_to_tensor(g) for x, g in zip(wanted, found, strict=True)}
    return [by_x.get(x) for x in xs]


class _Backward:
    """The gradients of functions with the same arguments, as functions with the same results.

    Args:
        inputs: the arguments, as tensors of the graph around.
        grads: the gradients by the results; None for results without any.
    """

    def __init__(
        self,
        called: Sequence[graph_pb2.NameAttrList],
        inputs: Sequence[Tensor],
        grads: Sequence[Any],
    ) -> None:
        library = _library(get_default_graph())
        for function in called:
            _check_repeatable(function.name, library)
        self._inputs = inputs
        self._scope = _scope()
        self._given = [convert_to_tensor(grad) for grad in grads if grad is not None]
        self._has = [grad is not None for grad in grads]
        self.arguments = [*inputs, *self._given]
        self._signature = [(t.dtype.base_dtype, t.get_shape()) for t in self.arguments]
        self._flows = [False] * len(inputs)
        for function in called:
            rehearse(lambda *values, f=function: self._note(f, values), self._signature)
        self.functions = [self._traced(function) for function in called]

    def _gradients(
        self, function: graph_pb2.NameAttrList, values: Sequence[Tensor]
    ) -> list[Tensor | None]:
        xs, remaining = values[: len(self._inputs)], iter(values[len(self._inputs) :])
        _note_sources(xs, self._inputs)
        grads = [next(remaining) if has else None for has in self._has]
        return _differentiated(function, xs, grads, self._scope)

    def _note(self, function: graph_pb2.NameAttrList, values: Sequence[Tensor]) -> None:
        found = self._gradients(function, values)
        self._flows = [a or g is not None for a, g in zip(self._flows, found, strict=True)]

    def _traced(self, function: graph_pb2.NameAttrList) -> TracedFunction:
        def backward(*values: Tensor) -> list[Tensor]:
            found = self._gradients(function, values)
            return [
                _zeros_like(x) if grad is None else grad
                for x, grad, flows in zip(values, found, self._flows, strict=False)
                if flows
            ]

        return trace(backward, self._signature, f"{function.name}_grad")

    def spread(self, results: Sequence[Tensor]) -> list[Tensor | None]:
        """Returns the results of the functions, one for each of the inputs."""
        remaining = iter(results)
        return [next(remaining) if flows else None for flows in self._flows]


def _note_sources(arguments: Sequence[Tensor], passed: Sequence[Tensor]) -> None:
    for argument, tensor in zip(arguments, passed, strict=True):
        if argument.dtype.base_dtype == dtypes.resource and isinstance(argument.graph, FuncGraph):
            argument.graph.note_source(argument, tensor)


def _zeros_like(tensor: Tensor) -> Tensor:
    """Makes zeros like a tensor, or like the variable that it names."""
    if tensor.dtype.base_dtype != dtypes.resource:
        return output_of("ZerosLike", tensor)
    known = variable_of(tensor)
    dtype = dtypes.float32 if known is None else known[0]
    return output_of("Fill", apply_op("VariableShape", tensor), constant(0, dtype))


def _function(op: Operation, attribute: str) -> graph_pb2.NameAttrList:
    return op._node_def.attr[attribute].func


@gradient("PartitionedCall", "StatefulPartitionedCall")
def partitioned_call(op: Operation, *grads: Any) -> Any:
    """Calls a function that computes the gradients of the called one."""
    backward = _Backward([_function(op, "f")], op.inputs, grads)
    return backward.spread(call(backward.functions[0], backward.arguments))


@gradient("If", "StatelessIf")
def if_(op: Operation, *grads: Any) -> Any:
    """Makes an If of the gradients of both branches."""
    branches = [_function(op, "then_branch"), _function(op, "else_branch")]
    backward = _Backward(branches, op.inputs[1:], grads)
    then_branch, else_branch = backward.functions
    found = _called("If", op.inputs[0], backward, then_branch=then_branch, else_branch=else_branch)
    return None, *found


@gradient("Case", "StatelessCase")
def case(op: Operation, *grads: Any) -> Any:
    """Makes a Case of the gradients of all branches."""
    branches = list(op._node_def.attr["branches"].list.func)
    backward = _Backward(branches, op.inputs[1:], grads)
    return None, *_called("Case", op.inputs[0], backward, branches=backward.functions)


def _called(kind: str, chooser: Tensor, backward: _Backward, **branches: Any) -> list[Any]:
    """Returns the results of an op that calls one of the functions."""
    stateful = any(function.is_stateful for function in backward.functions)
    types = backward.functions[0].output_types
    made = make_op(
        kind if stateful else f"Stateless{kind}",
        chooser,
        backward.arguments,
        Tin=[t.dtype.base_dtype for t in backward.arguments],
        Tout=types,
        **branches,
    )
    return backward.spread(made.outputs)


# Loops -------------------------------------------------------------------------------------------


@gradient("While", "StatelessWhile")
def while_(op: Operation, *grads: Any) -> Any:
    """Runs the loop again and pushes each iteration's variables on stacks, then goes backward."""
    cond, body = _function(op, "cond"), _function(op, "body")
    library = _library(get_default_graph())
    for function in (cond, body):
        _check_repeatable(function.name, library)
    loop = _Loop(op, cond, body, grads)
    count = loop.forward()
    return loop.backward(count)


class _Loop:
    """The loops that are the gradient of a While.

    Raises:
        NotImplementedError: a loop variable is a resource other than a variable: the body
            would change it again.
    """

    def __init__(
        self,
        op: Operation,
        cond: graph_pb2.NameAttrList,
        body: graph_pb2.NameAttrList,
        grads: Sequence[Any],
    ) -> None:
        inputs = op.inputs
        for tensor in inputs:
            if tensor.dtype.base_dtype == dtypes.resource and variable_of(tensor) is None:
                raise NotImplementedError(
                    f"There is no gradient of While '{op.name}': its variable {tensor.name} is a "
                    "resource (a TensorArray, perhaps)"
                )
        self._cond = cond
        self._body = body
        self._inputs = inputs
        self._scope = _scope()
        stated = op.get_attr("output_shapes")
        self._shapes = stated if len(stated) == len(inputs) else [None] * len(inputs)
        self._types = [t.dtype.base_dtype for t in inputs]
        self._changing = [i for i, t in enumerate(self._types) if t != dtypes.resource]
        self._grads = {
            i: _dense_or_zeros(grads[i], inputs[i])
            for i in self._changing
            if is_trainable(inputs[i])
        }
        signature = list(zip(self._types, self._shapes, strict=True))
        signature += [(self._types[i], self._shapes[i]) for i in self._grads]
        flows: set[int] = set()

        def note(*values: Tensor) -> None:
            found = self._in_body(values[: len(inputs)], values[len(inputs) :])
            flows.update(i for i, grad in enumerate(found) if grad is not None)

        rehearse(note, signature)
        for i, tensor in enumerate(inputs):
            if i in flows and i not in self._grads:  # a variable that the body reads
                self._grads[i] = _zeros_like(tensor)
        self._stacks = [
            apply_op("StackV2", constant(-1, dtypes.int32), elem_type=self._types[i])
            for i in self._changing
        ]

    def _in_body(self, xs: Sequence[Tensor], grads: Sequence[Tensor]) -> list[Tensor | None]:
        _note_sources(xs, self._inputs)
        by_variable = dict(zip(self._grads, grads, strict=False))
        given = [
            None if self._types[i] == dtypes.resource else by_variable.get(i)
            for i in range(len(self._inputs))
        ]
        return _differentiated(self._body, xs, given, self._scope)

    def forward(self) -> Tensor:
        """Runs the loop again; returns the number of iterations."""
        count = len(self._inputs)

        def step(i: Tensor, *values: Tensor) -> list[Tensor]:
            xs, stacks = values[:count], values[count:]
            _note_sources(xs, self._inputs)
            pushes = [
                apply_op("StackPushV2", stack, xs[k])
                for stack, k in zip(stacks, self._changing, strict=True)
            ]
            with control_dependencies(pushes):
                i = apply_op("AddV2", i, 1)
            return [i, *_inlined(self._body, xs), *stacks]

        zero = constant(0, dtypes.int32)
        shapes = [(), *self._shapes, *(None for _ in self._stacks)]
        return _loop(
            lambda i, *values: _inlined(self._cond, values[:count])[0],
            step,
            [zero, *self._inputs, *self._stacks],
            shapes,
        )[0]

    def backward(self, count: Tensor) -> list[Tensor | None]:
        """Returns the gradients by all inputs."""
        resources = [t for t in self._inputs if t.dtype.base_dtype == dtypes.resource]
        grads = list(self._grads.values())

        def step(i: Tensor, *values: Tensor) -> list[Tensor]:
            before, rest = values[: len(grads)], values[len(grads) :]
            handles, stacks = rest[: len(resources)], rest[len(resources) :]
            remaining = iter(handles)
            popped = dict(zip(self._changing, stacks, strict=True))
            xs = []
            for k in range(len(self._inputs)):
                if k not in popped:
                    xs.append(next(remaining))
                    continue
                x = apply_op("StackPopV2", popped[k], elem_type=self._types[k])
                x.set_shape(self._shapes[k])
                xs.append(x)
            found = self._in_body(xs, before)
            after = []
            for k, old in zip(self._grads, before, strict=True):
                new = found[k]
                if self._types[k] == dtypes.resource:
                    after.append(old if new is None else apply_op("AddV2", old, new))
                else:
                    after.append(apply_op("ZerosLike", old) if new is None else new)
            return [apply_op("Sub", i, 1), *after, *handles, *stacks]

        results = _loop(
            lambda i, *values: apply_op("Greater", i, 0),
            step,
            [count, *grads, *resources, *self._stacks],
            [
                (),
                *(self._shapes[k] if k in self._changing else None for k in self._grads),
                *(None for _ in (*resources, *self._stacks)),
            ],
        )
        by_variable = dict(zip(self._grads, results[1:], strict=False))
        return [by_variable.get(i) for i in range(len(self._inputs))]


def _dense_or_zeros(grad: Any, like: Tensor) -> Tensor:
    return apply_op("ZerosLike", like) if grad is None else convert_to_tensor(grad)


def _loop(
    cond: Callable[..., Tensor],
    body: Callable[..., list[Tensor]],
    inputs: Sequence[Tensor],
    shapes: Sequence[Shape],
) -> list[Tensor]:
    """Returns the results of a While of functions that are traced for it."""
    signature = [(t.dtype.base_dtype, shape) for t, shape in zip(inputs, shapes, strict=True)]
    condition, step = trace_loop(cond, body, signature, ["while_grad_cond", "while_grad_body"])
    given = [*inputs, *step.captures]
    made = make_op("While", given, T=[t.dtype.base_dtype for t in given], cond=condition, body=step)
    return made.outputs
