"""``tf.flags``: command line flags, which are absl's: its ``FLAGS`` is ``absl.flags.FLAGS``.

    tf.flags.DEFINE_integer("steps", 100, "How many steps to train.")
    FLAGS = tf.flags.FLAGS
    ... FLAGS.steps ...

As in TensorFlow 1.15 reading a flag parses ``sys.argv`` if nobody has done it yet, and definitions
also take the argument names ``flag_name``, ``default_value`` and ``docstring``.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import absl.app  # noqa: F401 - defines flags
from absl import flags

from flowray.client.tf_export import tf_export

F = TypeVar("F", bound=Callable[..., Any])

# A flag counts as one of the module that calls these functions.
flags.disclaim_key_flags()

# A script may have a flag of its own by the name of one of absl.app or absl.logging (--log_dir).
# absl itself sets these two.
for _module in ("absl.app", "absl.logging"):
    for _flag in flags.FLAGS.flags_by_module_dict().get(_module, ()):
        _flag.allow_override = _flag.name not in ("logger_levels", "verbosity")


@tf_export("flags.FlagValues")
class FlagValues(flags.FlagValues):
    """A set of flags. The first read of one parses ``sys.argv`` if no command line was parsed."""

    def __getattr__(self, name: str) -> Any:
        if name in self and not self.is_parsed():
            self(sys.argv)
        return super().__getattr__(name)


# TensorFlow wraps absl's flags in an object that parses them when they are first read. Here the
# object itself does, so that scripts which mix tf.flags and absl.flags have only one.
object.__setattr__(flags.FLAGS, "__class__", FlagValues)
FLAGS = tf_export("flags.FLAGS")(flags.FLAGS)

_OLD_NAMES = {"flag_name": "name", "default_value": "default", "docstring": "help"}


def _with_old_names(define: F) -> F:
    """Lets one of absl's functions take its arguments also by TensorFlow's first names."""

    @functools.wraps(define)
    def defined(*args: Any, **kwargs: Any) -> Any:
        return define(*args, **{_OLD_NAMES.get(key, key): kwargs[key] for key in kwargs})

    return defined  # type: ignore[return-value]


DEFINE_string = tf_export("flags.DEFINE_string")(_with_old_names(flags.DEFINE_string))
DEFINE_boolean = tf_export("flags.DEFINE_bool", "flags.DEFINE_boolean")(
    _with_old_names(flags.DEFINE_boolean)
)
DEFINE_bool = DEFINE_boolean
DEFINE_integer = tf_export("flags.DEFINE_integer")(_with_old_names(flags.DEFINE_integer))
DEFINE_float = tf_export("flags.DEFINE_float")(_with_old_names(flags.DEFINE_float))
DEFINE_enum = tf_export("flags.DEFINE_enum")(_with_old_names(flags.DEFINE_enum))
DEFINE_list = tf_export("flags.DEFINE_list")(_with_old_names(flags.DEFINE_list))
DEFINE_spaceseplist = tf_export("flags.DEFINE_spaceseplist")(
    _with_old_names(flags.DEFINE_spaceseplist)
)
DEFINE_multi_string = tf_export("flags.DEFINE_multi_string")(
    _with_old_names(flags.DEFINE_multi_string)
)
DEFINE_multi_integer = tf_export("flags.DEFINE_multi_integer")(
    _with_old_names(flags.DEFINE_multi_integer)
)
DEFINE_multi_float = tf_export("flags.DEFINE_multi_float")(
    _with_old_names(flags.DEFINE_multi_float)
)
DEFINE_multi_enum = tf_export("flags.DEFINE_multi_enum")(_with_old_names(flags.DEFINE_multi_enum))

# The rest of absl.flags as it is.
DEFINE = tf_export("flags.DEFINE")(flags.DEFINE)
DEFINE_flag = tf_export("flags.DEFINE_flag")(flags.DEFINE_flag)
DEFINE_enum_class = tf_export("flags.DEFINE_enum_class")(flags.DEFINE_enum_class)
DEFINE_multi = tf_export("flags.DEFINE_multi")(flags.DEFINE_multi)
DEFINE_multi_enum_class = tf_export("flags.DEFINE_multi_enum_class")(flags.DEFINE_multi_enum_class)
DEFINE_alias = tf_export("flags.DEFINE_alias")(flags.DEFINE_alias)

register_validator = tf_export("flags.register_validator")(flags.register_validator)
validator = tf_export("flags.validator")(flags.validator)
register_multi_flags_validator = tf_export("flags.register_multi_flags_validator")(
    flags.register_multi_flags_validator
)
multi_flags_validator = tf_export("flags.multi_flags_validator")(flags.multi_flags_validator)
mark_flag_as_required = tf_export("flags.mark_flag_as_required")(flags.mark_flag_as_required)
mark_flags_as_required = tf_export("flags.mark_flags_as_required")(flags.mark_flags_as_required)
mark_flags_as_mutual_exclusive = tf_export("flags.mark_flags_as_mutual_exclusive")(
    flags.mark_flags_as_mutual_exclusive
)
mark_bool_flags_as_mutual_exclusive = tf_export("flags.mark_bool_flags_as_mutual_exclusive")(
    flags.mark_bool_flags_as_mutual_exclusive
)

declare_key_flag = tf_export("flags.declare_key_flag")(flags.declare_key_flag)
adopt_module_key_flags = tf_export("flags.adopt_module_key_flags")(flags.adopt_module_key_flags)
disclaim_key_flags = tf_export("flags.disclaim_key_flags")(flags.disclaim_key_flags)

Error = tf_export("flags.Error")(flags.Error)
CantOpenFlagFileError = tf_export("flags.CantOpenFlagFileError")(flags.CantOpenFlagFileError)
DuplicateFlagError = tf_export("flags.DuplicateFlagError")(flags.DuplicateFlagError)
IllegalFlagValueError = tf_export("flags.IllegalFlagValueError")(flags.IllegalFlagValueError)
UnrecognizedFlagError = tf_export("flags.UnrecognizedFlagError")(flags.UnrecognizedFlagError)
UnparsedFlagAccessError = tf_export("flags.UnparsedFlagAccessError")(flags.UnparsedFlagAccessError)
ValidationError = tf_export("flags.ValidationError")(flags.ValidationError)
FlagNameConflictsWithMethodError = tf_export("flags.FlagNameConflictsWithMethodError")(
    flags.FlagNameConflictsWithMethodError
)

Flag = tf_export("flags.Flag")(flags.Flag)
BooleanFlag = tf_export("flags.BooleanFlag")(flags.BooleanFlag)
EnumFlag = tf_export("flags.EnumFlag")(flags.EnumFlag)
EnumClassFlag = tf_export("flags.EnumClassFlag")(flags.EnumClassFlag)
MultiFlag = tf_export("flags.MultiFlag")(flags.MultiFlag)
MultiEnumClassFlag = tf_export("flags.MultiEnumClassFlag")(flags.MultiEnumClassFlag)
FlagHolder = tf_export("flags.FlagHolder")(flags.FlagHolder)

ArgumentParser = tf_export("flags.ArgumentParser")(flags.ArgumentParser)
BooleanParser = tf_export("flags.BooleanParser")(flags.BooleanParser)
EnumParser = tf_export("flags.EnumParser")(flags.EnumParser)
EnumClassParser = tf_export("flags.EnumClassParser")(flags.EnumClassParser)
ArgumentSerializer = tf_export("flags.ArgumentSerializer")(flags.ArgumentSerializer)
FloatParser = tf_export("flags.FloatParser")(flags.FloatParser)
IntegerParser = tf_export("flags.IntegerParser")(flags.IntegerParser)
BaseListParser = tf_export("flags.BaseListParser")(flags.BaseListParser)
ListParser = tf_export("flags.ListParser")(flags.ListParser)
ListSerializer = tf_export("flags.ListSerializer")(flags.ListSerializer)
CsvListSerializer = tf_export("flags.CsvListSerializer")(flags.CsvListSerializer)
WhitespaceSeparatedListParser = tf_export("flags.WhitespaceSeparatedListParser")(
    flags.WhitespaceSeparatedListParser
)

get_help_width = tf_export("flags.get_help_width")(flags.get_help_width)
text_wrap = tf_export("flags.text_wrap")(flags.text_wrap)
flag_dict_to_args = tf_export("flags.flag_dict_to_args")(flags.flag_dict_to_args)
doc_to_help = tf_export("flags.doc_to_help")(flags.doc_to_help)
