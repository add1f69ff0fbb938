"""OSErrors in TensorFlow's words."""

import errno
import os

import pytest

from flowray.proto import errors
from flowray.proto.files import file_errors


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOENT, errors.NotFoundError),
        (errno.EEXIST, errors.AlreadyExistsError),
        (errno.EACCES, errors.PermissionDeniedError),
        (errno.ENOTEMPTY, errors.FailedPreconditionError),
        (errno.ENOSPC, errors.ResourceExhaustedError),
        (errno.EFBIG, errors.OutOfRangeError),
        (errno.EIO, errors.UnknownError),
    ],
)
def test_codes(number: int, expected: type[errors.OpError]) -> None:
    error = file_errors.from_os_error(OSError(number, os.strerror(number), "/a/b"))
    assert type(error) is expected
    assert error.message == f"/a/b; {os.strerror(number)}"


def test_the_path_is_for_errors_that_name_no_file() -> None:
    with (
        pytest.raises(errors.NotFoundError, match=r"^/no/such/file; No such file or directory$"),
        file_errors.translated("given"),
    ):
        os.stat("/no/such/file")
    with (
        pytest.raises(errors.FailedPreconditionError, match=r"^given; Bad file descriptor$"),
        file_errors.translated("given"),
    ):
        os.close(999_999)


def test_errors_without_a_number() -> None:
    error = file_errors.from_os_error(OSError("odd"), "p")
    assert type(error) is errors.UnknownError
    assert error.message == "p; odd"
