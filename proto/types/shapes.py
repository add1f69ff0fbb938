"""Static shapes.

Inside flowray a shape is a plain value, ``Shape``: a tuple of dimensions, None for an unknown
dimension, and None instead of the tuple for an unknown rank. The functions here work on those.
``TensorShape`` and ``Dimension`` are TensorFlow 1's public classes around them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, SupportsIndex, TypeGuard, overload

import numpy as np

from flowray.proto import errors
from flowray.proto.messages.tensor_pb2 import TensorShapeProto
from flowray.proto.types.dtypes import DType

Shape = tuple[int | None, ...] | None


def num_elements(shape: Shape) -> int | None:
    """Returns the number of elements; None unless the shape is fully defined."""
    if shape is None:
        return None
    count = 1
    for dim in shape:
        if dim is None:
            return None
        count *= dim
    return count


def is_fully_defined(shape: Shape) -> TypeGuard[tuple[int, ...]]:
    """Returns whether the rank and all dimensions are known."""
    return shape is not None and None not in shape


def is_compatible(a: Shape, b: Shape) -> bool:
    """Returns whether some fully defined shape fits both."""
    if a is None or b is None or a == b:
        return True
    return len(a) == len(b) and all(
        x is None or y is None or x == y for x, y in zip(a, b, strict=True)
    )


def merge(a: Shape, b: Shape) -> Shape:
    """Returns the shape that both describe. ValueError if they contradict each other."""
    if a is None or a == b:
        return b
    if b is None:
        return a
    if not is_compatible(a, b):
        raise ValueError(f"Shapes {_python_text(a)} and {_python_text(b)} are not compatible")
    return tuple(y if x is None else x for x, y in zip(a, b, strict=True))


def most_specific_compatible(a: Shape, b: Shape) -> Shape:
    """Returns the most specific shape that both fit: differing dimensions become unknown."""
    if a is None or b is None or len(a) != len(b):
        return None
    return tuple(x if x == y else None for x, y in zip(a, b, strict=True))


def broadcast(a: Shape, b: Shape) -> Shape:
    """Returns the shape of an elementwise operation's result, by numpy's rules.

    An unknown dimension and a known one greater than 1 give the known one. An unknown dimension and
    1, or two unknown ones, give an unknown one.

    Raises:
        ValueError: dimensions differ and none of them is 1.
    """
    if a is None or b is None:
        return None
    if a == b and None not in a:
        return a
    if len(a) < len(b):
        a, b = b, a
    offset = len(a) - len(b)
    result = list(a)
    for i, y in enumerate(b, offset):
        x = a[i]
        if x == 1:
            result[i] = y
        elif x is None:
            result[i] = y if y != 1 else None
        elif y is not None and y not in (1, x):
            raise ValueError(f"Dimensions must be equal, but are {x} and {y}")
    return tuple(result)


def broadcast_all(*shapes: Shape) -> Shape:
    """Returns the ``broadcast`` of any number of shapes."""
    result: Shape = ()
    for shape in shapes:
        result = broadcast(result, shape)
    return result


def concatenate(a: Shape, b: Shape) -> Shape:
    """Returns the dimensions of ``a`` followed by those of ``b``."""
    return None if a is None or b is None else a + b


def with_rank(shape: Shape, rank: int) -> tuple[int | None, ...]:
    """Returns the shape with this rank. ValueError if it has another rank."""
    if shape is None:
        return (None,) * rank
    if len(shape) != rank:
        raise ValueError(f"Shape must be rank {rank} but is rank {len(shape)}")
    return shape


def with_rank_at_least(shape: Shape, rank: int) -> Shape:
    """Returns the shape itself. ValueError if its rank is known and lower."""
    if shape is not None and len(shape) < rank:
        raise ValueError(f"Shape must be at least rank {rank} but is rank {len(shape)}")
    return shape


def with_rank_at_most(shape: Shape, rank: int) -> Shape:
    """Returns the shape itself. ValueError if its rank is known and higher."""
    if shape is not None and len(shape) > rank:
        raise ValueError(f"Shape must be at most rank {rank} but is rank {len(shape)}")
    return shape


def merge_all(all_shapes: Iterable[Shape]) -> Shape:
    """Returns the shape that all of ``all_shapes`` describe.

    Raises:
        ValueError: they differ; the text is that of TensorFlow's runtime.
    """
    result: Shape = None
    for shape in all_shapes:
        if shape is None or result is None:
            result = result if shape is None else shape
            continue
        if len(shape) != len(result):
            raise ValueError(f"Shapes must be equal rank, but are {len(result)} and {len(shape)}")
        for i, (a, b) in enumerate(zip(result, shape, strict=True)):
            if a is not None and b is not None and a != b:
                raise ValueError(
                    f"Dimension {i} in both shapes must be equal, but are {a} and {b}. Shapes are "
                    f"{format_shape(result)} and {format_shape(shape)}."
                )
        result = merge(result, shape)
    return result


def merge_dims(a: int | None, b: int | None) -> int | None:
    """Returns the dimension that both describe. ValueError if they differ."""
    if a is not None and b is not None and a != b:
        raise ValueError(f"Dimensions must be equal, but are {a} and {b}")
    return b if a is None else a


def with_value(dim: int | None, value: int) -> int:
    """Returns ``value``. ValueError if the dimension is known and differs."""
    if dim not in (None, value):
        raise ValueError(f"Dimension must be {value} but is {dim}")
    return value


def to_proto(shape: Shape) -> TensorShapeProto:
    """Returns the TensorShapeProto of a shape (-1 stands for an unknown dimension)."""
    proto = TensorShapeProto()
    if shape is None:
        proto.unknown_rank = True
    else:
        add = proto.dim.add
        for dim in shape:
            add(size=-1 if dim is None else dim)
    return proto


def from_proto(proto: TensorShapeProto) -> Shape:
    """Returns the shape of a TensorShapeProto. InvalidArgumentError for a dimension below -1."""
    if proto.unknown_rank:
        return None
    dims: list[int | None] = []
    for dim in proto.dim:
        size = dim.size
        if size < -1:
            raise errors.invalid_argument(
                f"Shape [{','.join(str(d.size) for d in proto.dim)}] has negative dimensions"
            )
        dims.append(None if size == -1 else size)
    return tuple(dims)


def format_shape(shape: Shape) -> str:
    """Returns the shape in the runtime's notation: "[2,?]", "[]", "<unknown>"."""
    if shape is None:
        return "<unknown>"
    return f"[{','.join('?' if dim is None else str(dim) for dim in shape)}]"


def _python_text(shape: Shape) -> str:
    """Returns the shape in the client's notation: "(2, ?)", "(3,)", "<unknown>"."""
    if shape is None:
        return "<unknown>"
    text = ", ".join("?" if dim is None else str(dim) for dim in shape)
    return f"({text},)" if len(shape) == 1 else f"({text})"


def _dimension_value(value: Any) -> int | None:
    """Returns the ``int | None`` that a dimension-like value stands for.

    Raises:
        TypeError: it is not a number.
        ValueError: it is negative or has a fraction.
    """
    kind = type(value)
    if kind is Dimension:
        known: int | None = value._value
        return known
    if value is None:
        return None
    if kind is not int:
        if isinstance(value, DType):
            raise TypeError(f"Cannot convert {value} to Dimension")
        if isinstance(value, TensorShapeProto.Dim):
            return None if value.size == -1 else value.size
        number = int(value)
        if not isinstance(value, (str, bytes)) and number != value:
            raise ValueError(f"Ambiguous dimension: {value}")
        value = number
    if value < 0:
        raise ValueError(f"Dimension {value} must be >= 0")
    size: int = value
    return size


class Dimension:
    """One dimension of a TensorShape: a number, or None where it is not known.

    Arithmetic with an unknown dimension gives an unknown one, comparison (``==`` too) gives None.
    Not hashable, as in TensorFlow 1.
    """

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value: int | None = _dimension_value(value)

    @property
    def value(self) -> int | None:
        """The number, or None."""
        return self._value

    def __repr__(self) -> str:
        return f"Dimension({self._value!r})"

    def __str__(self) -> str:
        return "?" if self._value is None else str(self._value)

    def __int__(self) -> int:
        return self._value  # type: ignore[return-value]  # None: Python raises the TypeError

    def __index__(self) -> int:
        return self._value  # type: ignore[return-value]  # likewise

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, tuple[int | None]]:
        return Dimension, (self._value,)

    def __eq__(self, other: object) -> Any:
        return self._compare(other, int.__eq__)

    def __ne__(self, other: object) -> Any:
        return self._compare(other, int.__ne__)

    def __lt__(self, other: Any) -> Any:
        return self._compare(other, int.__lt__)

    def __le__(self, other: Any) -> Any:
        return self._compare(other, int.__le__)

    def __gt__(self, other: Any) -> Any:
        return self._compare(other, int.__gt__)

    def __ge__(self, other: Any) -> Any:
        return self._compare(other, int.__ge__)

    def _compare(self, other: object, function: Any) -> Any:
        try:
            number = _dimension_value(other)
        except (TypeError, ValueError):
            return NotImplemented
        if self._value is None or number is None:
            return None
        return function(self._value, number)

    def _arithmetic(self, other: object, function: Callable[[int, int], int]) -> Dimension:
        try:
            number = _dimension_value(other)
        except (TypeError, ValueError):
            return NotImplemented  # type: ignore[no-any-return]
        if self._value is None or number is None:
            return Dimension(None)
        return Dimension(function(self._value, number))

    def __add__(self, other: Any) -> Dimension:
        return self._arithmetic(other, int.__add__)

    def __radd__(self, other: Any) -> Dimension:
        return self._arithmetic(other, int.__radd__)

    def __sub__(self, other: Any) -> Dimension:
        return self._arithmetic(other, int.__sub__)

    def __rsub__(self, other: Any) -> Dimension:
        return self._arithmetic(other, int.__rsub__)

    def __mul__(self, other: Any) -> Dimension:
        return self._arithmetic(other, int.__mul__)

    def __rmul__(self, other: Any) -> Dimension:
        return self._arithmetic(other, int.__rmul__)

    def __floordiv__(self, other: Any) -> Dimension:
        return self._arithmetic(other, int.__floordiv__)

    def __rfloordiv__(self, other: Any) -> Dimension:
        return self._arithmetic(other, int.__rfloordiv__)

    def __mod__(self, other: Any) -> Dimension:
        return self._arithmetic(other, int.__mod__)

    def __rmod__(self, other: Any) -> Dimension:
        return self._arithmetic(other, int.__rmod__)

    def __truediv__(self, other: Any) -> Dimension:
        raise TypeError(
            f"unsupported operand type(s) for /: 'Dimension' and '{type(other).__name__}', "
            "please use // instead"
        )

    def __rtruediv__(self, other: Any) -> Dimension:
        raise TypeError(
            f"unsupported operand type(s) for /: '{type(other).__name__}' and 'Dimension', "
            "please use // instead"
        )

    def is_compatible_with(self, other: Any) -> bool:
        """Returns whether the two are equal or one is unknown."""
        number = _dimension_value(other)
        return self._value is None or number is None or self._value == number

    def assert_is_compatible_with(self, other: Any) -> None:
        """Raises ValueError unless ``is_compatible_with(other)``."""
        if not self.is_compatible_with(other):
            raise ValueError(f"Dimensions {self} and {other} are not compatible")

    def merge_with(self, other: Any) -> Dimension:
        """Returns the known one of the two. ValueError if they differ."""
        self.assert_is_compatible_with(other)
        return Dimension(other) if self._value is None else Dimension(self._value)


def as_dimension(value: Any) -> Dimension:
    """Returns ``value`` as a Dimension; a Dimension itself."""
    return value if isinstance(value, Dimension) else Dimension(value)


def dimension_value(dimension: Any) -> Any:
    """Returns the value of a Dimension; anything else unchanged."""
    return dimension.value if isinstance(dimension, Dimension) else dimension


def dimension_at_index(shape: TensorShape, index: int) -> Dimension:
    """Returns the dimension at ``index``; an unknown one if the rank is unknown."""
    return Dimension(None) if shape.rank is None else shape[index]


class TensorShape:
    """A static shape as TensorFlow 1 shows it: iteration and indexing give Dimensions.

    Made from None (unknown rank), a sequence of dimensions, a single dimension, a TensorShapeProto
    or a TensorShape. Immutable and hashable. ``==`` compares what is known: two shapes of unknown
    rank are equal.
    """

    __slots__ = ("_dims",)

    _dims: Shape

    def __init__(self, dims: Any) -> None:
        if dims is None:
            self._dims = None
        elif isinstance(dims, TensorShape):
            self._dims = dims._dims
        elif isinstance(dims, (str, bytes)):
            raise TypeError(
                "A string has ambiguous TensorShape, please wrap in a list or convert to an int: "
                f"{dims!r}"
            )
        elif isinstance(dims, TensorShapeProto):
            self._dims = from_proto(dims)
        elif isinstance(dims, Dimension) or not isinstance(dims, Iterable) or _is_scalar(dims):
            self._dims = (_dimension_value(dims),)
        else:
            self._dims = tuple(_dimension_value(dim) for dim in dims)

    def as_tuple(self) -> Shape:
        """Returns the shape as a plain tuple, or None for unknown rank. It is not copied."""
        return self._dims

    @property
    def dims(self) -> list[Dimension] | None:
        """The dimensions; None if the rank is unknown."""
        return None if self._dims is None else [Dimension(dim) for dim in self._dims]

    @property
    def rank(self) -> int | None:
        """The number of dimensions; None if unknown."""
        return None if self._dims is None else len(self._dims)

    ndims = rank

    def __repr__(self) -> str:
        return f"TensorShape({self.dims!r})"

    def __str__(self) -> str:
        return _python_text(self._dims)

    def __hash__(self) -> int:
        return hash(self._dims)

    def __reduce__(self) -> tuple[Any, tuple[Shape]]:
        return TensorShape, (self._dims,)

    def __eq__(self, other: object) -> bool:
        try:
            return self._dims == as_shape(other)._dims
        except (TypeError, ValueError):
            return NotImplemented

    def __bool__(self) -> bool:
        """Returns whether the rank is known."""
        return self._dims is not None

    def __len__(self) -> int:
        if self._dims is None:
            raise ValueError("Cannot take the length of shape with unknown rank.")
        return len(self._dims)

    def __iter__(self) -> Iterator[Dimension]:
        if self._dims is None:
            raise ValueError("Cannot iterate over a shape with unknown rank.")
        return (Dimension(dim) for dim in self._dims)

    @overload
    def __getitem__(self, key: slice) -> TensorShape: ...
    @overload
    def __getitem__(self, key: SupportsIndex) -> Dimension: ...
    def __getitem__(self, key: slice | SupportsIndex) -> TensorShape | Dimension:
        if self._dims is not None:
            if isinstance(key, slice):
                return TensorShape(self._dims[key])
            return Dimension(self._dims[key])
        if not isinstance(key, slice):
            return Dimension(None)
        if key.step is not None:
            raise ValueError("Steps are not yet handled")
        start = 0 if key.start is None else int(key.start)
        if key.stop is None or start < 0 or int(key.stop) < 0:
            return TensorShape(None)
        return TensorShape((None,) * max(0, int(key.stop) - start))

    def __add__(self, other: Any) -> TensorShape:
        return self.concatenate(other)

    def __radd__(self, other: Any) -> TensorShape:
        return as_shape(other).concatenate(self)

    def num_elements(self) -> int | None:
        """Returns the number of elements; None unless fully defined."""
        return num_elements(self._dims)

    def as_list(self) -> list[int | None]:
        """Returns the dimensions as numbers. ValueError if the rank is unknown."""
        if self._dims is None:
            raise ValueError("as_list() is not defined on an unknown TensorShape.")
        return list(self._dims)

    def as_proto(self) -> TensorShapeProto:
        """Returns the shape as a TensorShapeProto."""
        return to_proto(self._dims)

    def concatenate(self, other: Any) -> TensorShape:
        """Returns these dimensions followed by those of ``other``."""
        return TensorShape(concatenate(self._dims, as_shape(other)._dims))

    def merge_with(self, other: Any) -> TensorShape:
        """Returns the shape that both describe. ValueError if they contradict each other."""
        return TensorShape(merge(self._dims, as_shape(other)._dims))

    def most_specific_compatible_shape(self, other: Any) -> TensorShape:
        """Returns the most specific shape that both fit."""
        return TensorShape(most_specific_compatible(self._dims, as_shape(other)._dims))

    def is_fully_defined(self) -> bool:
        """Returns whether the rank and all dimensions are known."""
        return is_fully_defined(self._dims)

    def assert_is_fully_defined(self) -> None:
        """Raises ValueError unless fully defined."""
        if not self.is_fully_defined():
            raise ValueError(f"Shape {self} is not fully defined")

    def is_compatible_with(self, other: Any) -> bool:
        """Returns whether some fully defined shape fits both."""
        return is_compatible(self._dims, as_shape(other)._dims)

    def assert_is_compatible_with(self, other: Any) -> None:
        """Raises ValueError unless ``is_compatible_with(other)``."""
        if not self.is_compatible_with(other):
            raise ValueError(f"Shapes {self} and {as_shape(other)} are incompatible")

    def assert_same_rank(self, other: Any) -> None:
        """Raises ValueError if both ranks are known and differ."""
        other = as_shape(other)
        if self._dims is not None and other._dims is not None and len(self) != len(other):
            raise ValueError(f"Shapes {self} and {other} must have the same rank")

    def assert_has_rank(self, rank: int) -> None:
        """Raises ValueError if the rank is known and differs."""
        if self.rank not in (None, rank):
            raise ValueError(f"Shape {self} must have rank {rank}")

    def with_rank(self, rank: int) -> TensorShape:
        """Returns this shape with this rank. ValueError if it has another rank."""
        self.assert_has_rank(rank)
        return TensorShape(with_rank(self._dims, rank))

    def with_rank_at_least(self, rank: int) -> TensorShape:
        """Returns this shape. ValueError if its rank is known and lower."""
        if self._dims is not None and len(self._dims) < rank:
            raise ValueError(f"Shape {self} must have rank at least {rank}")
        return self

    def with_rank_at_most(self, rank: int) -> TensorShape:
        """Returns this shape. ValueError if its rank is known and higher."""
        if self._dims is not None and len(self._dims) > rank:
            raise ValueError(f"Shape {self} must have rank at most {rank}")
        return self


def _is_scalar(value: Any) -> bool:
    """Returns whether an iterable is a scalar: a numpy array without dimensions."""
    return isinstance(value, np.ndarray) and value.ndim == 0


def as_shape(shape: Any) -> TensorShape:
    """Returns ``shape`` as a TensorShape; a TensorShape itself."""
    return shape if isinstance(shape, TensorShape) else TensorShape(shape)


def unknown_shape(rank: int | None = None) -> TensorShape:
    """Returns a shape of unknown dimensions, and of unknown rank unless ``rank`` is given."""
    return TensorShape(None if rank is None else (None,) * rank)


def scalar() -> TensorShape:
    """Returns the shape of a scalar."""
    return TensorShape(())


def vector(length: Any) -> TensorShape:
    """Returns the shape of a vector."""
    return TensorShape([length])


def matrix(rows: Any, columns: Any) -> TensorShape:
    """Returns the shape of a matrix."""
    return TensorShape([rows, columns])
