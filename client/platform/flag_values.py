"""The machinery of ``tf.flags``: kinds of values, flags, and sets of flags."""

from __future__ import annotations

import difflib
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flowray.client.tf_export import tf_export


@tf_export("flags.Error")
class Error(Exception):
    """The errors of flags."""


@tf_export("flags.DuplicateFlagError")
class DuplicateFlagError(Error):
    """A flag of that name exists."""


@tf_export("flags.IllegalFlagValueError")
class IllegalFlagValueError(Error):
    """A flag cannot have that value."""


@tf_export("flags.ValidationError")
class ValidationError(Error):
    """What a validator may raise to say why it refuses a value."""


@tf_export("flags.UnrecognizedFlagError")
class UnrecognizedFlagError(Error):
    """There is no flag of that name."""

    def __init__(self, flagname: str, suggestions: Sequence[str] = ()) -> None:
        self.flagname = flagname
        tip = f". Did you mean: {', '.join(suggestions)} ?" if suggestions else ""
        super().__init__(f"Unknown command line flag '{flagname}'{tip}")


# Kinds of flags -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """How a flag's value is read and shown."""

    parse: Callable[[Any], Any]
    """The value of a text, or of what a script gave as the default; ValueError if it is none."""
    show: Callable[[Any], str] = str
    hint: str = ""
    """What the help says about the values."""
    synopsis: str = ""
    is_boolean: bool = False
    is_multi: bool = False
    """Whether each occurrence on the command line adds a value."""


def parse_string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f'flag value must be a string, found "{type(value)}"')
    return value


def parse_boolean(value: Any) -> bool:
    if isinstance(value, str):
        if value.lower() in ("true", "t", "1"):
            return True
        if value.lower() in ("false", "f", "0"):
            return False
    elif isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    raise ValueError(f"Non-boolean argument to boolean flag: {value!r}")


def parse_integer(value: Any) -> int:
    if isinstance(value, str):
        prefix = value.lstrip("-")[:2].lower()
        return int(value, {"0x": 16, "0o": 8}.get(prefix, 10))
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"Expect argument to be a string or int, found {type(value)}")
    return value


def parse_float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"Expect argument to be a string, int, or float, found {type(value)}")
    return float(value)


def bounded(kind: str, parse: Callable[[Any], Any], low: Any, high: Any) -> Kind:
    described = _bounds_text(kind, low, high)

    def parse_bounded(value: Any) -> Any:
        number = parse(value)
        if (low is not None and number < low) or (high is not None and number > high):
            raise ValueError(f"{number} is not {described}")
        return number

    return Kind(parse_bounded, hint=described)


def _bounds_text(kind: str, low: Any, high: Any) -> str:
    article = "an" if kind == "integer" else "a"
    if low is not None and high is not None:
        return f"{article} {kind} in the range [{low}, {high}]"
    for number, sign, word in ((low, ">=", "positive"), (high, "<=", "negative")):
        if number is None:
            continue
        if number == (1 if word == "positive" else -1) and kind == "integer":
            return f"a {word} {kind}"
        if number == 0:
            return f"a non-{'negative' if word == 'positive' else 'positive'} {kind}"
        return f"{kind} {sign} {number}"
    return f"{article} {kind}"


def enum(values: Sequence[str], case_sensitive: bool) -> Kind:
    listed = "|".join(values)

    def parse(value: Any) -> str:
        for candidate in values:
            if candidate == value:
                return candidate
            if not case_sensitive and candidate.lower() == str(value).lower():
                return candidate
        raise ValueError(f"value should be one of <{listed}>")

    return Kind(parse, synopsis=f"<{listed}>")


def separated(by: str | None, described: str) -> Kind:
    def parse(value: Any) -> list[str]:
        if isinstance(value, list):
            return value
        text = parse_string(value)
        return [item.strip() for item in text.split(by)] if text else []

    return Kind(parse, (by or " ").join, described)


def multi(item: Kind) -> Kind:
    """Values of the kind ``item``, one for each time the flag is given."""

    def parse(value: Any) -> list[Any]:
        if isinstance(value, str) or not isinstance(value, Iterable):
            value = [value]
        return [item.parse(v) for v in value]

    return Kind(parse, str, item.hint, item.synopsis, is_multi=True)


# Flags --------------------------------------------------------------------------------------------


@tf_export("flags.Flag")
class Flag:
    """One flag: its ``name``, ``help``, ``default`` and ``value``, and how often it was given."""

    def __init__(self, name: str, kind: Kind, default: Any, help_text: str | None) -> None:
        self.name = name
        self.kind = kind
        self.help = help_text or "(no help available)"
        if kind.is_multi:
            self.help += ";\nrepeat this option to specify a list of values"
        self.present = 0
        self.using_default_value = True
        self.default = None if default is None else self._parsed(default)
        self.value = self.default

    def parse(self, text: str) -> None:
        """Takes the value that the command line gives."""
        value = self._parsed(text)
        if self.kind.is_multi and self.present:
            value = self.value + value
        self.value = value
        self.present += 1
        self.using_default_value = False

    def assign(self, value: Any) -> None:
        """Takes the value that a script sets."""
        self.value = value
        self.using_default_value = False

    def reset_default(self, value: Any) -> None:
        self.default = None if value is None else self._parsed(value)
        if self.using_default_value:
            self.value = self.default

    def arguments(self) -> list[str]:
        """The command line that gives this value; nothing for None."""
        if self.value is None:
            return []
        if self.kind.is_boolean:
            return [f"--{self.name}" if self.value else f"--no{self.name}"]
        if self.kind.is_multi:
            return [f"--{self.name}={v}" for v in self.value]
        return [f"--{self.name}={self.kind.show(self.value)}"]

    def help_lines(self) -> list[str]:
        option = f"[no]{self.name}" if self.kind.is_boolean else self.name
        synopsis = f"{self.kind.synopsis}: " if self.kind.synopsis else ""
        first, *others = self.help.splitlines()
        lines = _wrapped(f"--{option}: {synopsis}{first}", "  ")
        for line in others:
            lines += _wrapped(line, "    ")
        if self.default is not None:
            lines += _wrapped(f"(default: {self.kind.show(self.default)!r})", "    ")
        if self.kind.hint:
            lines += _wrapped(f"({self.kind.hint})", "    ")
        return lines

    def _parsed(self, value: Any) -> Any:
        try:
            return self.kind.parse(value)
        except (TypeError, ValueError) as error:
            raise IllegalFlagValueError(f"flag --{self.name}={value}: {error}") from None


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, 80, initial_indent=indent, subsequent_indent="    ")


@dataclass(frozen=True)
class Validator:
    """A condition on the values of some flags."""

    names: tuple[str, ...]
    accepts: Callable[[dict[str, Any]], Any]
    message: str

    def check(self, flags: FlagValues) -> None:
        values = {name: flags[name].value for name in self.names}
        try:
            reason = None if self.accepts(values) else self.message
        except ValidationError as error:
            reason = str(error)
        if reason is not None:
            one = len(values) == 1
            shown = ", ".join(f"{'--' if one else ''}{n}={v}" for n, v in values.items())
            raise IllegalFlagValueError(f"flag{'' if one else 's'} {shown}: {reason}")


@tf_export("flags.FlagValues")
class FlagValues:
    """A set of flags, by name. An attribute reads a flag's value and sets it."""

    def __init__(self) -> None:
        # Not as plain attributes: those are the flags.
        self.__dict__.update(_flags={}, _validators=[], _parsed=False)

    def __call__(self, argv: Sequence[str], known_only: bool = False) -> list[str]:
        """Parses a command line; returns what is left of it, the program's name first.

        Args:
            argv: the program's name and its arguments.
            known_only: whether unknown flags stay in what is left, instead of raising.

        Raises:
            UnrecognizedFlagError, IllegalFlagValueError: unknown flags, values that do not fit.
            Error: a value is missing.
            ValueError: ``--noflag`` has one.
        """
        if not argv:
            raise ValueError("argv cannot be an empty list, and must contain the program name")
        rest = self._parse(list(argv[1:]), known_only)
        self.__dict__["_parsed"] = True
        for validator in self._validators:
            validator.check(self)
        return [argv[0], *rest]

    def _parse(self, args: list[str], known_only: bool) -> list[str]:
        """Sets the flags; what is left of the arguments."""
        rest: list[str] = []
        unknown: list[tuple[str, int]] = []  # the names, and where they are in what is left
        tolerated: set[str] = set()
        remaining = iter(args)
        for arg in remaining:
            if arg == "--":
                rest += [arg] if known_only else []
                break
            name, equals, value = arg.removeprefix("-").removeprefix("-").partition("=")
            if not arg.startswith("-") or not name:
                rest.append(arg)
            elif name == "undefok":
                names = (value if equals else next(remaining, "")).split(",")
                tolerated.update(names, (f"no{n}" for n in names))
            elif not self._set(name, value if equals else None, remaining):
                unknown.append((name, len(rest)))
                rest.append(arg)
        rest += remaining
        refused = [name for name, _ in unknown if name not in tolerated]
        if refused and not known_only:
            raise UnrecognizedFlagError(refused[0], self._similar_to(refused[0]))
        dropped = {i for name, i in unknown if name in tolerated}
        return [arg for i, arg in enumerate(rest) if i not in dropped]

    def _set(self, name: str, value: str | None, following: Iterator[str]) -> bool:
        """Sets a flag, whose value may be in ``following``; False if there is no such flag."""
        flag = self._flags.get(name)
        if flag is None:
            negated = self._flags.get(name.removeprefix("no"))
            if not name.startswith("no") or negated is None or not negated.kind.is_boolean:
                return False
            if value is not None:
                raise ValueError(f"--{name}={value} does not take an argument")
            negated.parse("false")
        elif flag.kind.is_boolean:
            flag.parse("true" if value is None else value)
        else:
            text = next(following, None) if value is None else value
            if text is None:
                raise Error(f"Missing value for flag --{name}")
            flag.parse(text)
        return True

    def _similar_to(self, name: str) -> list[str]:
        options = [n for f in self._flags.values() for n in _spellings(f)]
        return difflib.get_close_matches(name, options, 3, 0.8)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self.__dict__["_flags"]:
            raise AttributeError(name)
        if not self._parsed:
            self(sys.argv)
        return self._flags[name].value

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._flags:
            raise UnrecognizedFlagError(name)
        self._flags[name].assign(value)
        for validator in self._validators:
            if name in validator.names:
                validator.check(self)

    def __delattr__(self, name: str) -> None:
        """Forgets a flag."""
        if name not in self._flags:
            raise AttributeError(name)
        del self._flags[name]

    def __getitem__(self, name: str) -> Flag:
        """The flag itself; KeyError if there is none."""
        flag: Flag = self._flags[name]
        return flag

    def __setitem__(self, name: str, flag: Flag) -> None:
        """Adds a flag."""
        if name in self._flags:
            raise DuplicateFlagError(
                f"The flag '{name}' is defined twice. Description from first occurrence: "
                f"{self._flags[name].help}"
            )
        if not name or any(c.isspace() or c == "-" for c in name):
            raise Error(f"Flag name {name!r} is empty or contains a space or a dash")
        self._flags[name] = flag

    def __contains__(self, name: object) -> bool:
        return name in self._flags

    def __iter__(self) -> Iterator[str]:
        return iter(self._flags)

    def __len__(self) -> int:
        return len(self._flags)

    def __dir__(self) -> list[str]:
        return sorted([*super().__dir__(), *self._flags])

    def is_parsed(self) -> bool:
        return bool(self._parsed)

    def mark_as_parsed(self) -> None:
        """Lets flags be read without a command line."""
        self.__dict__["_parsed"] = True

    def unparse_flags(self) -> None:
        """Back to the defaults, and to where a read parses ``sys.argv``."""
        for flag in self._flags.values():
            flag.value, flag.present, flag.using_default_value = flag.default, 0, True
        self.__dict__["_parsed"] = False

    def flag_values_dict(self) -> dict[str, Any]:
        return {name: flag.value for name, flag in self._flags.items()}

    def get_flag_value(self, name: str, default: Any) -> Any:
        """The value of a flag; ``default`` if it has none or does not exist."""
        value = getattr(self, name, None)
        return default if value is None else value

    def set_default(self, name: str, value: Any) -> None:
        if name not in self._flags:
            raise UnrecognizedFlagError(name)
        self._flags[name].reset_default(value)

    def flags_into_string(self) -> str:
        """All flags as arguments, one a line."""
        return "".join(f"{a}\n" for n in sorted(self._flags) for a in self._flags[n].arguments())

    def append_flags_into_file(self, filename: str) -> None:
        with open(filename, "a") as file:
            file.write(self.flags_into_string())

    def get_help(self) -> str:
        """The text for ``--help``."""
        lines = [f"\n{os.path.basename(sys.argv[0])}:"]
        for name in sorted(self._flags):
            lines += self._flags[name].help_lines()
        return "\n".join(lines)

    main_module_help = get_help

    def add_validator(self, validator: Validator) -> None:
        for name in validator.names:
            if name not in self._flags:
                raise UnrecognizedFlagError(name)
        self._validators.append(validator)


def _spellings(flag: Flag) -> tuple[str, ...]:
    return (flag.name, f"no{flag.name}") if flag.kind.is_boolean else (flag.name,)


FLAGS = tf_export("flags.FLAGS")(FlagValues())
"""The flags of this program."""


@tf_export("flags.FlagHolder")
class FlagHolder:
    """What a ``DEFINE_`` function returns: the flag's value without looking it up by name."""

    def __init__(self, flag_values: FlagValues, name: str) -> None:
        self._flag_values = flag_values
        self.name = name

    @property
    def value(self) -> Any:
        return getattr(self._flag_values, self.name)

    @property
    def default(self) -> Any:
        return self._flag_values[self.name].default

    @property
    def present(self) -> int:
        return self._flag_values[self.name].present
