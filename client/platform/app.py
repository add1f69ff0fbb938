"""``tf.app``: the frame of a script that has flags and a ``main``."""

from __future__ import annotations

import logging as python_logging
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import absl.app
import absl.logging

from flowray.client.platform import flags, logging
from flowray.client.tf_export import tf_export


@tf_export("app.run")
def run(
    main: Callable[[list[str]], Any] | None = None, argv: Sequence[str] | None = None
) -> NoReturn:
    """Parses the flags, calls ``main`` with the rest of the command line, and exits.

    It is ``absl.app.run``, but, as in TensorFlow 1.15, flags that nobody defined are left to
    ``main``. The result of ``main`` is the exit status. ``--help`` lists the flags.

    Args:
        main: the script's function ``main`` if None.
        argv: ``sys.argv`` if None; the program's name first.
    """
    # absl.app handles the messages of all loggers: not those of tf.logging a second time.
    logging.get_logger()
    absl.logging.get_absl_handler().addFilter(_is_not_handled)
    absl.app.run(
        main or sys.modules["__main__"].main,
        argv=list(sys.argv if argv is None else argv),
        flags_parser=_parse,
    )


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        return flags.FLAGS(argv, known_only=True)
    except (flags.Error, ValueError) as error:
        print(
            f"FATAL Flags parsing error:\n  {error}\nPass --helpshort or --helpfull to see help on "
            "flags.",
            file=sys.stderr,
        )
        sys.exit(1)


def _is_not_handled(record: python_logging.LogRecord) -> bool:
    """Returns False for a message that the handler of ``tf.logging`` shows."""
    return record.name != "tensorflow" or not python_logging.getLogger("tensorflow").handlers
