"""tf.flags and tf.app: absl's rules and texts (tests/conformance/test_flags.py compares)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flowray.client.api import flags


@pytest.fixture
def values() -> flags.FlagValues:
    f = flags.FlagValues()
    flags.DEFINE_string("name", "d", "a name", flag_values=f)
    flags.DEFINE_integer("steps", 3, "steps", lower_bound=0, flag_values=f)
    flags.DEFINE_boolean("shuffle", True, "shuffle", flag_values=f)
    flags.DEFINE_multi_integer("size", [1], "size", flag_values=f)
    return f


def test_a_command_line(values: flags.FlagValues) -> None:
    rest = values(
        ["prog", "a", "--name=x=y", "-steps", "0x10", "b", "--noshuffle", "--", "--steps=1"]
    )
    assert rest == ["prog", "a", "b", "--steps=1"]
    assert values.flag_values_dict() == {"name": "x=y", "steps": 16, "shuffle": False, "size": [1]}
    assert values["name"].present == 1
    assert values["size"].using_default_value


def test_each_occurrence_of_a_multi_flag_adds_a_value(values: flags.FlagValues) -> None:
    values(["prog", "--size=2", "--size", "3"])
    assert values.size == [2, 3]


def test_unknown_flags_can_stay(values: flags.FlagValues) -> None:
    assert values(["prog", "--other=3", "--steps=1"], known_only=True) == ["prog", "--other=3"]
    assert values.steps == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--other"], flags.UnrecognizedFlagError, "Unknown command line flag 'other'$"),
        (["--step=1"], flags.UnrecognizedFlagError, r"Did you mean: steps \?$"),
        (["--steps=x"], flags.IllegalFlagValueError, "flag --steps=x: invalid literal for int"),
        (["--steps=-1"], flags.IllegalFlagValueError, "-1 is not a non-negative integer"),
        (["--name"], flags.Error, "Missing value for flag --name"),
        (["--shuffle=2"], flags.IllegalFlagValueError, "Non-boolean argument to boolean flag"),
        (["--noshuffle=1"], ValueError, "--noshuffle=1 does not take an argument"),
    ],
)
def test_bad_command_lines(
    values: flags.FlagValues, arguments: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        values(["prog", *arguments])


def test_a_script_sets_flags(values: flags.FlagValues) -> None:
    values.mark_as_parsed()
    values.name = "set"
    values.set_default("steps", "7")
    values.set_default("name", "other")
    assert (values.name, values.steps, values["name"].default) == ("set", 7, "other")
    with pytest.raises(flags.UnrecognizedFlagError):
        values.nothing = 1
    with pytest.raises(AttributeError):
        _ = values.nothing
    values.unparse_flags()
    assert not values.is_parsed()
    assert values["name"].value == "other"


def test_reading_parses_the_programs_command_line(
    values: flags.FlagValues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["prog", "--name=x"])
    assert values.name == "x"
    assert values.is_parsed()


def test_definitions_are_checked(values: flags.FlagValues) -> None:
    with pytest.raises(flags.DuplicateFlagError, match="'name' is defined twice"):
        flags.DEFINE_string("name", "", "", flag_values=values)
    with pytest.raises(
        flags.IllegalFlagValueError, match=r"flag --e=z: value should be one of <a\|b>"
    ):
        flags.DEFINE_enum("e", "z", ["a", "b"], "", flag_values=values)
    with pytest.raises(flags.Error, match="cannot contain a space"):
        flags.DEFINE_string("a b", "", "", flag_values=values)
    with pytest.raises(ValueError, match=r"flag --r .*None"):
        flags.DEFINE_string("r", "x", "", flag_values=values, required=True)


def test_tensorflows_first_names_of_the_arguments(values: flags.FlagValues) -> None:
    holder = flags.DEFINE_integer(
        flag_name="old", default_value=4, docstring="old names", flag_values=values
    )
    values.mark_as_parsed()
    assert (holder.name, holder.value, holder.default, holder.present) == ("old", 4, 4, 0)
    assert values["old"].help == "old names"


def test_conditions(values: flags.FlagValues) -> None:
    flags.DEFINE_string("left", None, "", flag_values=values)
    flags.DEFINE_string("right", None, "", flag_values=values)
    flags.mark_flags_as_mutual_exclusive(["left", "right"], required=True, flag_values=values)
    flags.register_validator("steps", lambda n: n % 2, "must be odd", flag_values=values)
    with pytest.raises(flags.IllegalFlagValueError, match=r"flags left=None, right=None: Exactly"):
        values(["prog"])
    with pytest.raises(flags.IllegalFlagValueError, match="flag --steps=4: must be odd"):
        values(["prog", "--left=x", "--steps=4"])
    values(["prog", "--left=x", "--steps=5"])
    with pytest.raises(flags.IllegalFlagValueError, match="must be odd"):
        values.steps = 6
    flags.mark_flag_as_required("right", flag_values=values)
    with pytest.raises(flags.IllegalFlagValueError, match="must have a value other than None"):
        values(["prog", "--left=x", "--steps=5"])


def test_flags_as_a_command_line(values: flags.FlagValues, tmp_path: Path) -> None:
    values(["prog", "--size=2", "--size=3", "--noshuffle"])
    assert values.flags_into_string() == "--name=d\n--noshuffle\n--size=2\n--size=3\n--steps=3\n"
    values.append_flags_into_file(str(tmp_path / "f"))
    assert (tmp_path / "f").read_text() == values.flags_into_string()


SCRIPT = """
import sys
import flowray as tf
tf.app.flags.DEFINE_integer("steps", 10, "How many steps to train.")
tf.app.flags.DEFINE_boolean("dry", False, "Whether to do nothing.")
FLAGS = tf.app.flags.FLAGS

def main(argv):
    print(argv[1:], FLAGS.steps, FLAGS.dry)
    return 3

if __name__ == "__main__":
    tf.app.run()
"""


def run_script(tmp_path: Path, *arguments: str, script: str = SCRIPT) -> Any:
    (tmp_path / "script.py").write_text(script)
    return subprocess.run(
        [sys.executable, "script.py", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_app_run_calls_main_and_exits_with_what_it_returns(tmp_path: Path) -> None:
    done = run_script(tmp_path, "--steps", "4", "file", "--dry", "--others=1")
    assert (done.returncode, done.stdout) == (3, "['file', '--others=1'] 4 True\n")


def test_app_run_refuses_bad_values(tmp_path: Path) -> None:
    done = run_script(tmp_path, "--steps=many")
    assert done.returncode == 1
    assert "FATAL Flags parsing error:\n  flag --steps=many: invalid literal" in done.stderr
    assert "Traceback" not in done.stderr


def test_app_run_helps(tmp_path: Path) -> None:
    done = run_script(tmp_path, "--help")
    assert done.returncode == 1
    assert (
        done.stdout
        == """
       USAGE: script.py [flags]
flags:

script.py:
  --[no]dry: Whether to do nothing.
    (default: 'false')
  --steps: How many steps to train.
    (default: '10')
    (an integer)

Try --helpfull to get a list of all flags.
"""
    )


def test_scripts_mix_tensorflows_flags_with_absls(tmp_path: Path) -> None:
    script = """
import os
import flowray as tf
from absl import app, flags
tf.flags.DEFINE_integer("steps", 10, "Steps.")
flags.DEFINE_string("log_dir", "logs", "A flag that absl.logging has, too.")
assert flags.FLAGS is tf.flags.FLAGS is tf.app.flags.FLAGS
print(tf.flags.FLAGS.steps, flags.FLAGS.log_dir)

def main(argv):
    tf.logging.set_verbosity(tf.logging.INFO)
    tf.logging.info("once")
    print(argv[1:], flags.FLAGS.steps, tf.flags.FLAGS.log_dir)

app.run(main) if os.environ.get("ABSL") else tf.app.run()
"""
    for start in ("", "import os; os.environ['ABSL'] = '1'\n"):
        done = run_script(tmp_path, "--steps=4", "rest", "--log_dir=x", script=start + script)
        assert (done.returncode, done.stdout) == (0, "4 x\n['rest'] 4 x\n")
    # tf.app.run leaves the messages of tf.logging to their own handler.
    done = run_script(tmp_path, script=script)
    assert done.stderr == "INFO:tensorflow:once\n"
