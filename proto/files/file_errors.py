"""The errors of the operating system as TensorFlow reports them, with its codes and texts."""

from __future__ import annotations

import errno
import os
from typing import Any, Final

from flowray.proto import errors

_ERRNOS: Final = {
    errors.INVALID_ARGUMENT: (
        "EINVAL ENAMETOOLONG E2BIG EDESTADDRREQ EDOM EFAULT EILSEQ ENOPROTOOPT ENOSTR ENOTSOCK "
        "ENOTTY EPROTOTYPE ESPIPE"
    ),
    errors.DEADLINE_EXCEEDED: "ETIMEDOUT ETIME",
    errors.NOT_FOUND: "ENODEV ENOENT ENXIO ESRCH",
    errors.ALREADY_EXISTS: "EEXIST EADDRNOTAVAIL EALREADY",
    errors.PERMISSION_DENIED: "EPERM EACCES EROFS",
    errors.FAILED_PRECONDITION: (
        "ENOTEMPTY EISDIR ENOTDIR EADDRINUSE EBADF EBUSY ECHILD EISCONN ENOTBLK ENOTCONN EPIPE "
        "ESHUTDOWN ETXTBSY"
    ),
    errors.RESOURCE_EXHAUSTED: (
        "ENOSPC EDQUOT EMFILE EMLINK ENFILE ENOBUFS ENODATA ENOMEM ENOSR EUSERS"
    ),
    errors.OUT_OF_RANGE: "EFBIG EOVERFLOW ERANGE",
    errors.UNIMPLEMENTED: (
        "ENOSYS ENOTSUP EAFNOSUPPORT EPFNOSUPPORT EPROTONOSUPPORT ESOCKTNOSUPPORT EXDEV"
    ),
    errors.UNAVAILABLE: (
        "EAGAIN ECONNREFUSED ECONNABORTED ECONNRESET EINTR EHOSTDOWN EHOSTUNREACH ENETDOWN "
        "ENETRESET ENETUNREACH ENOLCK ENOLINK"
    ),
    errors.ABORTED: "EDEADLK ESTALE",
    errors.CANCELLED: "ECANCELED",
}
# Not every system has every one of them.
_CODES: Final = {
    getattr(errno, name): code
    for code, names in _ERRNOS.items()
    for name in names.split()
    if hasattr(errno, name)
}


def from_os_error(error: OSError, path: str | bytes = "") -> errors.OpError:
    """Returns TensorFlow's error for ``error``. ``path`` is the file if ``error`` names none."""
    where = path if error.filename is None else error.filename
    code = _CODES.get(error.errno or 0, errors.UNKNOWN)
    text = os.strerror(error.errno) if error.errno else str(error)
    return errors.from_code(code, f"{os.fsdecode(where)}; {text}")


class translated:  # noqa: N801 - as other context managers that are no more than that
    """Turns the OSErrors of the block into TensorFlow's errors (``from_os_error``)."""

    __slots__ = ("_path",)

    def __init__(self, path: str | bytes = "") -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError):
            raise from_os_error(error, self._path) from None
