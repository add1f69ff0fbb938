"""Element types of tensors: TensorFlow 1's ``tf.DType`` and the table of all of them.

The enum values are those of TensorFlow's ``DataType`` (a reference type is its base type + 100).
Op signatures use the frozensets at the end (``FLOATING``, ``NUMERIC``, ...); none holds a
reference type.

numpy itself has no bfloat16; ``ml_dtypes`` has, but importing it takes longer than importing all of
flowray's client. So it is loaded when a program first asks for the numpy type of ``bfloat16``.
"""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from flowray.proto.messages.types_pb2 import DataType

_REF_OFFSET: Final = 100


class DType:
    """The type of a tensor's elements. One instance stands for each.

    ``==`` accepts whatever ``as_dtype`` accepts (``tf.float32 == "float32" == np.float32``). None
    and values that are not a type are unequal. The hash is the enum value.
    """

    __slots__ = ("_base", "_enum", "_name", "_numpy", "_ref", "np_dtype")

    _enum: DataType
    _name: str
    _base: DType
    _ref: DType
    _numpy: Any
    np_dtype: np.dtype[Any] | None
    """The numpy dtype of the elements; None for resource and variant and their references."""

    def __init__(self, type_enum: builtins.int) -> None:
        """Takes over the fields of the instance that has this enum value (TF1's constructor).

        Raises:
            TypeError: there is no such type.
        """
        known = BY_ENUM.get(type_enum)
        if known is None:
            raise TypeError(f"type_enum is not a valid types_pb2.DataType: {type_enum!r}")
        for slot in DType.__slots__:
            object.__setattr__(self, slot, getattr(known, slot))

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Loads the numpy type of bfloat16, the only type whose fields may still be unset."""
            if name not in ("_numpy", "np_dtype"):
                raise AttributeError(f"'DType' object has no attribute {name!r}")
            _load_bfloat16()
            return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"DType is immutable: cannot set {name!r}")

    @property
    def name(self) -> str:
        """The canonical name: "float32", "string", "int32_ref"."""
        return self._name

    @property
    def as_datatype_enum(self) -> DataType:
        """The value of TensorFlow's ``DataType`` enum."""
        return self._enum

    @property
    def as_numpy_dtype(self) -> Any:
        """The numpy type (``np.float32``; ``object`` for string, resource and variant).

        The quantized types have TensorFlow's structured numpy dtypes.
        """
        return self._numpy

    @property
    def base_dtype(self) -> DType:
        """The type itself without a reference."""
        return self._base

    @property
    def _is_ref_dtype(self) -> builtins.bool:
        return self._enum > _REF_OFFSET

    @property
    def _as_ref(self) -> DType:
        """The reference type of this type."""
        return self._ref

    @property
    def real_dtype(self) -> DType:
        """The type of a complex type's parts; any other type itself (without a reference)."""
        base = self._base
        if base is complex64:
            return float32
        if base is complex128:
            return float64
        return base

    @property
    def is_numpy_compatible(self) -> builtins.bool:
        """False for resource and variant."""
        return self.np_dtype is not None

    @property
    def is_bool(self) -> builtins.bool:
        """True for bool."""
        return self._base is bool

    @property
    def is_integer(self) -> builtins.bool:
        """An integer that is not quantized."""
        return self._base in INTEGERS

    @property
    def is_floating(self) -> builtins.bool:
        """A real floating-point type."""
        return self._base in FLOATING

    @property
    def is_complex(self) -> builtins.bool:
        """True for a type of complex numbers."""
        return self._base in COMPLEX

    @property
    def is_quantized(self) -> builtins.bool:
        """True for a type of quantized integers."""
        return self._base in QUANTIZED

    @property
    def is_unsigned(self) -> builtins.bool:
        """An integer without a sign (False for types without an order)."""
        return self._base in UNSIGNED

    @property
    def min(self) -> Any:
        """The smallest finite value; TypeError if the type has no order."""
        return self._bound("min")

    @property
    def max(self) -> Any:
        """The largest finite value; TypeError if the type has no order."""
        return self._bound("max")

    def _bound(self, which: str) -> Any:
        base = self._base
        if base in INTEGERS:
            return getattr(np.iinfo(base._numpy), which)
        if base is bfloat16:
            largest = float.fromhex("0x1.FEp127")
            return largest if which == "max" else -largest
        if base in FLOATING:
            return getattr(np.finfo(base._numpy), which)
        raise TypeError(f"Cannot find {which}imum value of {self}.")

    @property
    def limits(self) -> tuple[Any, Any]:
        """The (lowest, highest) intensity of an image of this type, the negative range cut off.

        Raises:
            ValueError: images do not have this type.
        """
        base = self._base
        if base is bool:
            return 0, True
        if base in INTEGERS:
            return 0, self.max
        if base in FLOATING and base is not bfloat16:
            return 0, 1
        raise ValueError(f"{self} does not have defined limits.")

    @property
    def size(self) -> builtins.int:
        """Bytes per element as numpy stores it (a pointer for string); 1 for resource, variant."""
        return 1 if self.np_dtype is None else self.np_dtype.itemsize

    def is_compatible_with(self, other: Any) -> builtins.bool:
        """Returns whether a value of type ``other`` can stand where this type is asked for.

        A reference can stand for its base type, but not the reverse. TypeError if ``other`` is not
        a type.
        """
        dtype = as_dtype(other)
        return self._enum in (dtype._enum, dtype._base._enum)

    def __eq__(self, other: object) -> builtins.bool:
        if self is other:
            return True
        if other is None:
            return False
        if type(other) is DType:
            return self._enum == other._enum
        try:
            return self._enum == as_dtype(other)._enum
        except TypeError:
            return False

    def __ne__(self, other: object) -> builtins.bool:
        return not self.__eq__(other)

    def __hash__(self) -> builtins.int:
        return self._enum

    def __int__(self) -> builtins.int:
        return self._enum

    def __str__(self) -> str:
        return f"<dtype: {self._name!r}>"

    def __repr__(self) -> str:
        return f"tf.{self._name}"

    def __reduce__(self) -> tuple[Any, tuple[builtins.int]]:
        return as_dtype, (self._enum,)

    def __copy__(self) -> DType:
        return self

    def __deepcopy__(self, memo: Any) -> DType:
        return self


BY_ENUM: Final[dict[builtins.int, DType]] = {}
"""All types by their enum values, references included."""

BY_NAME: Final[dict[str, DType]] = {}
"""All types by their names: the canonical ones, references, and half, float and double."""


def _define(enum: builtins.int, name: str, numpy: Any = None) -> DType:
    """Creates the type and its reference type; without ``numpy``, their numpy type is set later."""
    base, ref = DType.__new__(DType), DType.__new__(DType)
    for dtype, own_enum, own_name in ((base, enum, name), (ref, enum + _REF_OFFSET, f"{name}_ref")):
        fields = {"_enum": own_enum, "_name": own_name, "_base": base, "_ref": ref}
        for key, value in fields.items():
            object.__setattr__(dtype, key, value)
        BY_ENUM[own_enum] = BY_NAME[own_name] = dtype
    if numpy is not None:
        _set_numpy(base, numpy)
    return base


def _set_numpy(base: DType, numpy: Any) -> None:
    """Sets the numpy type of ``base`` and of its reference type."""
    np_dtype = None if base.name in ("resource", "variant") else np.dtype(numpy)
    for dtype in (base, base._ref):
        object.__setattr__(dtype, "_numpy", numpy)
        object.__setattr__(dtype, "np_dtype", np_dtype)


float32: Final = _define(1, "float32", np.float32)
float64: Final = _define(2, "float64", np.float64)
int32: Final = _define(3, "int32", np.int32)
uint8: Final = _define(4, "uint8", np.uint8)
int16: Final = _define(5, "int16", np.int16)
int8: Final = _define(6, "int8", np.int8)
string: Final = _define(7, "string", np.object_)
complex64: Final = _define(8, "complex64", np.complex64)
int64: Final = _define(9, "int64", np.int64)
bool: Final = _define(10, "bool", np.bool_)
qint8: Final = _define(11, "qint8", np.dtype([("qint8", np.int8)]))
quint8: Final = _define(12, "quint8", np.dtype([("quint8", np.uint8)]))
qint32: Final = _define(13, "qint32", np.dtype([("qint32", np.int32)]))
bfloat16: Final = _define(14, "bfloat16")
qint16: Final = _define(15, "qint16", np.dtype([("qint16", np.int16)]))
quint16: Final = _define(16, "quint16", np.dtype([("quint16", np.uint16)]))
uint16: Final = _define(17, "uint16", np.uint16)
complex128: Final = _define(18, "complex128", np.complex128)
float16: Final = _define(19, "float16", np.float16)
resource: Final = _define(20, "resource", np.object_)
variant: Final = _define(21, "variant", np.object_)
uint32: Final = _define(22, "uint32", np.uint32)
uint64: Final = _define(23, "uint64", np.uint64)
half: Final = float16
double: Final = float64

BY_NAME.update(
    {
        "half": float16,
        "float": float32,
        "double": float64,
        "half_ref": float16._as_ref,
        "float_ref": float32._as_ref,
        "double_ref": float64._as_ref,
    }
)

float32_ref: Final = float32._as_ref
float64_ref: Final = float64._as_ref
int32_ref: Final = int32._as_ref
uint8_ref: Final = uint8._as_ref
int16_ref: Final = int16._as_ref
int8_ref: Final = int8._as_ref
string_ref: Final = string._as_ref
complex64_ref: Final = complex64._as_ref
int64_ref: Final = int64._as_ref
bool_ref: Final = bool._as_ref
qint8_ref: Final = qint8._as_ref
quint8_ref: Final = quint8._as_ref
qint32_ref: Final = qint32._as_ref
bfloat16_ref: Final = bfloat16._as_ref
qint16_ref: Final = qint16._as_ref
quint16_ref: Final = quint16._as_ref
uint16_ref: Final = uint16._as_ref
complex128_ref: Final = complex128._as_ref
float16_ref: Final = float16._as_ref
half_ref: Final = float16_ref
double_ref: Final = float64_ref
resource_ref: Final = resource._as_ref
variant_ref: Final = variant._as_ref
uint32_ref: Final = uint32._as_ref
uint64_ref: Final = uint64._as_ref

FLOATING: Final = frozenset({float16, bfloat16, float32, float64})
SIGNED: Final = frozenset({int8, int16, int32, int64})
UNSIGNED: Final = frozenset({uint8, uint16, uint32, uint64})
INTEGERS: Final = SIGNED | UNSIGNED
INDEX: Final = frozenset({int32, int64})
COMPLEX: Final = frozenset({complex64, complex128})
FLOATING_OR_COMPLEX: Final = FLOATING | COMPLEX
REAL: Final = FLOATING | INTEGERS
"""TensorFlow's realnumbertype."""
NUMERIC: Final = REAL | COMPLEX
"""TensorFlow's numbertype without the quantized types."""
QUANTIZED: Final = frozenset({qint8, quint8, qint16, quint16, qint32})
ALL: Final = frozenset(d for d in BY_ENUM.values() if not d._is_ref_dtype)

_BY_OTHER: Final[dict[Any, DType]] = {
    **BY_ENUM,
    **BY_NAME,
    # Plain Python types, as TensorFlow converts Python values.
    builtins.float: float32,
    builtins.int: int32,
    builtins.bool: bool,
    builtins.complex: complex128,
    builtins.str: string,
    builtins.bytes: string,
    builtins.object: string,
    np.str_: string,
    np.bytes_: string,
}
_BY_NUMPY: Final[dict[np.dtype[Any], DType]] = {}


def _index_numpy(dtype: DType) -> None:
    """Lets ``as_dtype`` find the type by its numpy type."""
    if dtype.np_dtype is not None:
        _BY_NUMPY[dtype.np_dtype] = dtype
        if dtype not in QUANTIZED:
            _BY_OTHER[dtype.as_numpy_dtype] = dtype


for _dtype in ALL - {bfloat16}:
    _index_numpy(_dtype)


def _load_bfloat16() -> None:
    import ml_dtypes  # noqa: PLC0415 - slow, and few programs use bfloat16

    _set_numpy(bfloat16, ml_dtypes.bfloat16)
    _index_numpy(bfloat16)


def as_dtype(type_value: Any) -> DType:
    """Returns the DType that ``type_value`` names.

    Accepts a DType, an enum value (``int``), a name, a numpy dtype or scalar type, an object with
    a ``dtype`` attribute, and the Python types float (float32), int (int32), bool, complex
    (complex128), str, bytes and object (string).

    Raises:
        TypeError: it is something else.
    """
    if type(type_value) is DType:
        return type_value
    # No other type is looked up: hash(np.float32(1.0)) == hash(1), so it would read as an enum.
    if isinstance(type_value, (builtins.int, str, type)) and type(type_value) is not builtins.bool:
        found = _BY_OTHER.get(type_value)
        if found is not None:
            return found
    is_type = isinstance(type_value, type)
    dtype = type_value if is_type else getattr(type_value, "dtype", type_value)
    if type(dtype) is DType:
        return dtype
    if isinstance(dtype, np.dtype):
        found = _BY_NUMPY.get(dtype) or _BY_NUMPY.get(dtype.newbyteorder("="))
        if found is not None:
            return found
        if dtype.kind in "SU":
            return string
        if dtype.name == "bfloat16":
            # Somebody else has loaded ml_dtypes.
            _load_bfloat16()
            return bfloat16
    elif isinstance(dtype, str) or (is_type and issubclass(dtype, np.generic)):
        try:
            return as_dtype(np.dtype(dtype))
        except TypeError:
            pass
    raise TypeError(f"Cannot convert value {type_value!r} to a TensorFlow DType.")


_RUNTIME_NAMES: Final = {"float32": "float", "float64": "double", "float16": "half"}


def type_name(dtype: DType) -> str:
    """Returns the name that TensorFlow's runtime uses in messages: "float", "int32_ref"."""
    base = _RUNTIME_NAMES.get(dtype.base_dtype.name, dtype.base_dtype.name)
    return f"{base}_ref" if dtype._is_ref_dtype else base
