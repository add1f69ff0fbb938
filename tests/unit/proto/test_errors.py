import copy
import pickle
import re

import pytest

from flowray.proto import errors
from flowray.proto.messages import error_pb2

CODES = {v.name: v.number for v in error_pb2.Code.DESCRIPTOR.values if 0 < v.number < 20}


def class_of(name):
    return getattr(errors, name.title().replace("_", "") + "Error")


def test_there_is_a_class_a_constant_and_a_helper_for_every_code():
    assert len(CODES) == 16
    assert errors.OK == 0
    for name, number in CODES.items():
        cls = class_of(name)
        assert getattr(errors, name) == number
        assert errors.exception_type_from_error_code(number) is cls
        assert errors.error_code_from_exception_type(cls) == number
        assert issubclass(cls, errors.OpError)
        raised = getattr(errors, name.lower())("text")
        assert type(raised) is cls
        assert (raised.error_code, raised.message) == (number, "text")


def test_the_docstring_shows_the_tree():
    shown = re.findall(r"^ +(\w+Error) +(\d+)$", errors.__doc__, re.MULTILINE)
    assert {name: int(code) for name, code in shown} == {
        class_of(name).__name__: number for name, number in CODES.items()
    }
    public = {
        cls.__name__
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, Exception) and not cls.__name__.startswith("_")
    }
    assert public == {name for name, _ in shown} | {"OpError"}


def test_attributes():
    error = errors.NotFoundError("node", None, "text")
    assert (error.node_def, error.op, error.message, error.error_code) == ("node", None, "text", 5)
    assert str(error) == "text"
    assert errors.OpError(None, None, "text", 3).error_code == 3


def test_text_tells_where_the_op_was_made():
    class Op:
        name = "add"
        traceback = (("file.py", 7, "main", "x + y"),)

    text = str(errors.InvalidArgumentError(None, Op(), "bad"))
    assert text == (
        "bad\n\nOriginal stack trace for 'add':\n  File \"file.py\", line 7, in main\n    x + y"
    )


def test_from_code():
    assert type(errors.from_code(11, "end")) is errors.OutOfRangeError
    assert type(errors.from_code(77, "?")) is errors.UnknownError
    with pytest.raises(KeyError):
        errors.exception_type_from_error_code(0)
    with pytest.raises(KeyError):
        errors.error_code_from_exception_type(errors.OpError)


def test_node_tag():
    tagged = "bad\n\t [[{{node a/b}}]]"
    assert errors.invalid_argument("bad", node="a/b").message == tagged
    assert errors.invalid_argument(tagged, node="a/b").message == tagged
    assert errors.internal("in {{node a}}", node="a").message == "in {{node a}}\n\t [[{{node a}}]]"
    assert errors.internal(tagged, node="a").message == f"{tagged}\n\t [[{{{{node a}}}}]]"


@pytest.mark.parametrize(
    "error", [errors.aborted("gone", node="n"), errors.OpError("node", None, "text", 42)]
)
def test_travels(error):
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is type(error)
        assert (other.node_def, other.op) == (error.node_def, None)
        assert (other.message, other.error_code) == (error.message, error.error_code)


def test_an_op_stays_in_its_process():
    error = errors.DataLossError(None, lambda: 0, "text")
    assert pickle.loads(pickle.dumps(error)).op is None
