"""flowray's flags read a command line as absl's, which are TensorFlow's, and show the same help."""

from __future__ import annotations

from typing import Any

import pytest

from flowray.client.platform import flags

absl_flags = pytest.importorskip("absl.flags")


def define(api: Any, **options: Any) -> Any:
    f = api.FlagValues()
    api.DEFINE_string("s", "d", "the string\nin two lines", flag_values=f)
    api.DEFINE_string("long", None, "a text that is long enough " * 5, flag_values=f)
    api.DEFINE_integer("n", 3, "n", lower_bound=0, upper_bound=10, flag_values=f)
    api.DEFINE_integer("low", 3, "n", lower_bound=2, flag_values=f)
    api.DEFINE_integer("positive", 3, "n", lower_bound=1, flag_values=f)
    api.DEFINE_float("x", 0.5, "x", flag_values=f)
    api.DEFINE_float("high", -1, "x", upper_bound=0, flag_values=f)
    api.DEFINE_boolean("b", False, "b", flag_values=f)
    api.DEFINE_bool("t", True, "t", flag_values=f)
    api.DEFINE_enum("e", "a", ["a", "b"], "e", flag_values=f)
    api.DEFINE_enum("E", "A", ["A", "b"], "e", flag_values=f, case_sensitive=False)
    api.DEFINE_list("l", ["1", "2"], "l", flag_values=f)
    api.DEFINE_spaceseplist("sp", "a b", "sp", flag_values=f)
    api.DEFINE_multi_string("ms", None, "ms", flag_values=f)
    api.DEFINE_multi_integer("mi", [1], "mi", flag_values=f)
    api.DEFINE_multi_float("mf", None, "mf", flag_values=f)
    api.DEFINE_multi_enum("me", ["a"], ["a", "b"], "me", flag_values=f)
    api.DEFINE_string("no_prefix", "z", "h", flag_values=f)
    return f


def outcome(api: Any, arguments: list[str], **options: Any) -> Any:
    """Returns the rest of the command line and the values, or the error."""
    f = define(api)
    try:
        rest = f(["prog", *arguments], **options)
    except Exception as error:
        # What else might have been meant is a guess, and ours is another one.
        return type(error).__name__, str(error).partition(". Did you mean")[0]
    return rest, {name: f[name].value for name in define(flags)}


LINES = [
    "", "--s=x rest --n=4", "-s x", "--s", "--s --n", "--n=abc", "--n=0x5", "--n=0o17", "--n=11",
    "--n=-1", "--n=1.0", "--low=1", "--positive=0", "--x=1e-3", "--x=abc", "--x -.5", "--high=1",
    "--b false", "--b=False", "--nob", "--not", "--b=1", "--t=f", "--b=true --b=false", "-b",
    "--e=b", "--e=c", "--e=A", "--E=a", "--E=B", "--l=a,b", "--l=", "--l a", "--sp=q", "--sp=",
    "--ms=a --ms=b", "--mi=4 --mi 5", "--mi=x", "--mf=1 --mf=.5", "--me=b --me=a", "--me=c",
    "--unknown", "--unknown=3 --s=1", "-- --s=1", "a -- --s=1", "--undefok=q,r --q=3 --nor",
    "--strin=x", "--no_prefix=q", "--noprefix", "--none", "- --s=1", "--s=a=b", "---s=1", "--=1",
    "--n -5", "--s=", "--no_s", "--nos",
]  # fmt: skip


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("known_only", [False, True])
def test_a_command_line(line: str, known_only: bool) -> None:
    arguments = line.split()
    ours = outcome(flags, arguments, known_only=known_only)
    assert ours == outcome(absl_flags, arguments, known_only=known_only)


def test_the_help() -> None:
    ours, theirs = define(flags), define(absl_flags)
    assert ours.get_help() == theirs.get_help()
    ours.mark_as_parsed()
    assert ours.flags_into_string() == theirs.flags_into_string()


def test_both_define_in_one_set_of_flags() -> None:
    assert flags.FLAGS is absl_flags.FLAGS
    tf_flags = pytest.importorskip("tensorflow.compat.v1").flags
    try:
        flags.DEFINE_string("of_flowray", "a", "one")
        tf_flags.DEFINE_string("of_tensorflow", "b", "another")
        absl_flags.DEFINE_string("of_absl", "c", "a third")
        flags.FLAGS(["prog", "--of_absl=d", "--of_tensorflow=e"])
        assert (tf_flags.FLAGS.of_flowray, flags.FLAGS.of_absl, flags.FLAGS.of_tensorflow) == (
            "a",
            "d",
            "e",
        )
    finally:
        for name in ("of_flowray", "of_tensorflow", "of_absl"):
            if name in flags.FLAGS:
                delattr(flags.FLAGS, name)
        flags.FLAGS.unparse_flags()
