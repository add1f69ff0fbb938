"""``tf.app``: the frame of a script that has flags and a ``main``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from flowray.client.platform import flags
from flowray.client.platform.flag_values import Error
from flowray.client.tf_export import tf_export

_HELP = {"help", "helpshort", "helpfull"}


@tf_export("app.run")
def run(
    main: Callable[[list[str]], Any] | None = None, argv: Sequence[str] | None = None
) -> NoReturn:
    """Parses the flags, calls ``main`` with what is left of the command line, and exits.

    What ``main`` returns is the exit status. Flags that nobody defined are left to ``main``, as in
    TensorFlow 1.15. ``--help`` lists the flags.

    Args:
        main: the script's function ``main`` if None.
        argv: ``sys.argv`` if None; the program's name first.
    """
    main = main or sys.modules["__main__"].main
    arguments = list(sys.argv if argv is None else argv)
    if _asks_for_help(arguments):
        _print_help()
        sys.exit(1)
    try:
        rest = flags.FLAGS(arguments, known_only=True)
    except (Error, ValueError) as error:
        print(
            f"FATAL Flags parsing error:\n  {error}\nPass --helpshort or --helpfull to see help on "
            "flags.",
            file=sys.stderr,
        )
        sys.exit(1)
    sys.exit(main(rest))


def _asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether one of the flags is ``--help``, and not the script's own."""
    before_end = arguments[1 : arguments.index("--") if "--" in arguments else None]
    names = {a.lstrip("-") for a in before_end if a.startswith("-")}
    return any(name not in flags.FLAGS for name in names & _HELP)


def _print_help() -> None:
    text = sys.modules["__main__"].__doc__ or f"\nUSAGE: {os.path.basename(sys.argv[0])} [flags]\n"
    print(f"{text}flags:\n{flags.FLAGS.get_help()}")
