"""``tf.flags``: command line flags, with the rules of absl.

    tf.flags.DEFINE_integer("steps", 100, "How many steps to train.")
    FLAGS = tf.flags.FLAGS
    ... FLAGS.steps ...

On the command line a flag is ``--name=value``, ``--name value``, and for booleans ``--name`` and
``--noname``; one dash does as well as two; ``--`` ends the flags. Reading a flag parses ``sys.argv`` if
nobody has done it yet.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from flowray.client.platform.flag_values import (
    FLAGS,
    Flag,
    FlagHolder,
    FlagValues,
    Kind,
    Validator,
    bounded,
    enum,
    multi,
    parse_boolean,
    parse_float,
    parse_integer,
    parse_string,
    separated,
)
from flowray.client.tf_export import tf_export

# Definitions --------------------------------------------------------------------------------------
#
# All take (name, default, help, flag_values=FLAGS, required=False), also under TensorFlow's first
# names for these: flag_name, default_value and docstring. A None default means that the flag has no
# value unless it is given one.

_OLD_NAMES = {"flag_name": "name", "default_value": "default", "docstring": "help"}


def _define(kind: Kind, *args: Any, **kwargs: Any) -> FlagHolder:
    for old, new in _OLD_NAMES.items():
        if old in kwargs:
            kwargs[new] = kwargs.pop(old)
    return _add(kind, *args, **kwargs)


def _add(
    kind: Kind,
    name: str,
    default: Any,
    help: str | None,
    flag_values: FlagValues = FLAGS,
    required: bool = False,
) -> FlagHolder:
    if required and default is not None:
        raise ValueError(f"If flag --{name} is required, the default value has to be None.")
    flag_values[name] = Flag(name, kind, default, help)
    if required:
        mark_flag_as_required(name, flag_values)
    return FlagHolder(flag_values, name)


@tf_export("flags.DEFINE_string")
def DEFINE_string(*args: Any, **kwargs: Any) -> FlagHolder:
    """Any text."""
    return _define(Kind(parse_string), *args, **kwargs)


@tf_export("flags.DEFINE_bool", "flags.DEFINE_boolean")
def DEFINE_boolean(*args: Any, **kwargs: Any) -> FlagHolder:
    """``--name`` or ``--noname``; with ``=``: true, t, 1, false, f, 0."""
    return _define(
        Kind(parse_boolean, lambda value: str(value).lower(), is_boolean=True), *args, **kwargs
    )


DEFINE_bool = DEFINE_boolean


@tf_export("flags.DEFINE_integer")
def DEFINE_integer(
    *args: Any, lower_bound: int | None = None, upper_bound: int | None = None, **kwargs: Any
) -> FlagHolder:
    """An integer, also as 0x2a or 0o52, within the bounds if there are any."""
    return _define(bounded("integer", parse_integer, lower_bound, upper_bound), *args, **kwargs)


@tf_export("flags.DEFINE_float")
def DEFINE_float(
    *args: Any, lower_bound: float | None = None, upper_bound: float | None = None, **kwargs: Any
) -> FlagHolder:
    """A number, within the bounds if there are any."""
    return _define(bounded("number", parse_float, lower_bound, upper_bound), *args, **kwargs)


@tf_export("flags.DEFINE_enum")
def DEFINE_enum(
    name: str,
    default: str | None,
    enum_values: Sequence[str],
    help: str | None,
    flag_values: FlagValues = FLAGS,
    case_sensitive: bool = True,
    required: bool = False,
) -> FlagHolder:
    """One of ``enum_values``."""
    kind = enum(enum_values, case_sensitive)
    return _add(kind, name, default, help, flag_values, required)


@tf_export("flags.DEFINE_list")
def DEFINE_list(*args: Any, **kwargs: Any) -> FlagHolder:
    """A list of strings, separated by commas."""
    return _define(separated(",", "a comma separated list"), *args, **kwargs)


@tf_export("flags.DEFINE_spaceseplist")
def DEFINE_spaceseplist(*args: Any, **kwargs: Any) -> FlagHolder:
    """A list of strings, separated by whitespace."""
    return _define(separated(None, "a whitespace separated list"), *args, **kwargs)


@tf_export("flags.DEFINE_multi_string")
def DEFINE_multi_string(*args: Any, **kwargs: Any) -> FlagHolder:
    """A list of strings: each occurrence of the flag adds one."""
    return _define(multi(Kind(parse_string)), *args, **kwargs)


@tf_export("flags.DEFINE_multi_integer")
def DEFINE_multi_integer(
    *args: Any, lower_bound: int | None = None, upper_bound: int | None = None, **kwargs: Any
) -> FlagHolder:
    """A list of integers: each occurrence of the flag adds one."""
    kind = multi(bounded("integer", parse_integer, lower_bound, upper_bound))
    return _define(kind, *args, **kwargs)


@tf_export("flags.DEFINE_multi_float")
def DEFINE_multi_float(
    *args: Any, lower_bound: float | None = None, upper_bound: float | None = None, **kwargs: Any
) -> FlagHolder:
    """A list of numbers: each occurrence of the flag adds one."""
    kind = multi(bounded("number", parse_float, lower_bound, upper_bound))
    return _define(kind, *args, **kwargs)


@tf_export("flags.DEFINE_multi_enum")
def DEFINE_multi_enum(
    name: str,
    default: Any,
    enum_values: Sequence[str],
    help: str | None,
    flag_values: FlagValues = FLAGS,
    case_sensitive: bool = True,
    required: bool = False,
) -> FlagHolder:
    """A list of some of ``enum_values``: each occurrence of the flag adds one."""
    kind = multi(enum(enum_values, case_sensitive))
    return _add(kind, name, default, help, flag_values, required)


# Conditions ---------------------------------------------------------------------------------------


@tf_export("flags.register_validator")
def register_validator(
    flag_name: str,
    checker: Callable[[Any], Any],
    message: str = "Flag validation failed",
    flag_values: FlagValues = FLAGS,
) -> None:
    """Refuses values for which ``checker(value)`` is false or raises ValidationError."""
    flag_values.add_validator(
        Validator((flag_name,), lambda values: checker(values[flag_name]), message)
    )


@tf_export("flags.register_multi_flags_validator")
def register_multi_flags_validator(
    flag_names: Sequence[str],
    multi_flags_checker: Callable[[dict[str, Any]], Any],
    message: str = "Flags validation failed",
    flag_values: FlagValues = FLAGS,
) -> None:
    """As ``register_validator``, for a condition on the values of several flags."""
    flag_values.add_validator(Validator(tuple(flag_names), multi_flags_checker, message))


@tf_export("flags.mark_flag_as_required")
def mark_flag_as_required(flag_name: str, flag_values: FlagValues = FLAGS) -> None:
    """The flag must have a value."""
    register_validator(
        flag_name,
        lambda value: value is not None,
        f"Flag --{flag_name} must have a value other than None.",
        flag_values,
    )


@tf_export("flags.mark_flags_as_required")
def mark_flags_as_required(flag_names: Iterable[str], flag_values: FlagValues = FLAGS) -> None:
    for name in flag_names:
        mark_flag_as_required(name, flag_values)


@tf_export("flags.mark_flags_as_mutual_exclusive")
def mark_flags_as_mutual_exclusive(
    flag_names: Sequence[str], required: bool = False, flag_values: FlagValues = FLAGS
) -> None:
    """At most one of the flags may have a value; exactly one if ``required``."""

    def accepts(values: dict[str, Any]) -> bool:
        given = sum(v is not None for v in values.values())
        return given == 1 or (given == 0 and not required)

    many = "Exactly" if required else "At most"
    message = f"{many} one of ({', '.join(flag_names)}) must have a value other than None."
    register_multi_flags_validator(flag_names, accepts, message, flag_values)
