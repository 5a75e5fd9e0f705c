"""What is said of a command line that is wrong: where, what was expected, what came, and where to read on.

The parser finds the mistake; what it expected is read off the signature of the command, so that every option says it in
the same way.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from mechshift_core.cli.console import GLOBAL_FLAGS

PROGRAM = "mechshift"
WrongUsage: type[Exception] = typer.BadParameter.__bases__[0]
"""What the parser raises, whichever library it is from."""
_BRACKETS = str.maketrans("()", "[]")
_GUESS = re.compile(r"\.? Did you mean (.+)\?$")


def asks_for_help(error: Exception) -> bool:
    """Whether nothing was given where something must be, so that the help is the answer."""
    return type(error).__name__ == "NoArgsIsHelpError"


def told(error: Any, given: Sequence[str]) -> str:
    """What is wrong with a command line, in one message.

    Args:
        error: What the parser raised.
        given: The words of the command line.
    """
    context, parameter = error.ctx, getattr(error, "param", None)
    where = context.command_path if context is not None else _command(given)
    if context is None or parameter is None:
        said = _plain(error, context)
    else:
        said = _of_parameter(context, parameter, given, missing=type(error).__name__ == "MissingParameter")
        said = said or _plain(error, context)
    return f"{where}: {said}; `{where} --help` says more"


def _of_parameter(context: Any, parameter: Any, given: Sequence[str], *, missing: bool) -> str:
    """What an option or argument expects and what came; empty where that can't be read."""
    annotation = annotation_of(context.command.callback, parameter.name)
    name = max(parameter.opts, key=len) if parameter.param_type_name == "option" else _metavar(annotation, parameter)
    if missing:
        about = getattr(_info(annotation), "help", None) or ""
        about = f" ({about.rstrip('.').translate(_BRACKETS)})" if about else ""
        return f"{name}: expected {expected(annotation)}{about}, got nothing"
    value = _given(context, parameter, given)
    if value is None:
        return ""
    return f"{name}: expected {expected(annotation)}, got {value!r}{_close(value, annotation)}"


def annotation_of(command: Callable[..., object], parameter: str) -> Any:
    """The annotation of a command's parameter, with what Typer is told of it."""
    return get_type_hints(inspect.unwrap(command), include_extras=True)[parameter]


def expected(annotation: Any) -> str:
    """What a parameter takes, in words: `a whole number from 1 to 1024`, `'top' or 'greedy'`."""
    info = _info(annotation)
    low, high = getattr(info, "min", None), getattr(info, "max", None)
    kind = kind_of(annotation)
    if get_origin(kind) is Literal:
        from mechshift_core.options import listing

        return listing(map(str, get_args(kind)))
    if kind in (int, float):
        noun = "a whole number" if kind is int else "a number"
        if low is not None and high is not None:
            return f"{noun} from {low} to {high}"
        if low is not None:
            return f"{noun} of at least {low}"
        return noun if high is None else f"{noun} of at most {high}"
    return "a path" if kind is Path else "text"


def kind_of(annotation: Any) -> Any:
    """The type of one value of a parameter: without what Typer is told, without None, of a list that of its items."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(one for one in get_args(annotation) if one is not NoneType)
    return kind_of(get_args(annotation)[0]) if get_origin(annotation) is list else annotation


def _info(annotation: Any) -> Any:
    return next((one for one in getattr(annotation, "__metadata__", ()) if hasattr(one, "metavar")), None)


def _metavar(annotation: Any, parameter: Any) -> str:
    return str(getattr(_info(annotation), "metavar", None) or parameter.name.upper())


def _given(context: Any, parameter: Any, given: Sequence[str]) -> str | None:
    """The word that stands for a parameter on the command line, of several the one that is wrong."""
    rest, at = list(given), context
    names = []
    while at.parent is not None:
        names.append(at.info_name)
        at = at.parent
    for name in reversed(names):
        rest = rest[rest.index(name) + 1 :]
    values = context.command.make_parser(context).parse_args(args=rest)[0].get(parameter.name)
    if not isinstance(values, list | tuple):
        return None if values is None else str(values)
    return next((str(one) for one in values if _refused(context, parameter, one)), None)


def _refused(context: Any, parameter: Any, value: object) -> bool:
    try:
        parameter.process_value(context, [value])
    except WrongUsage:
        return True
    return False


def _close(value: str, annotation: Any) -> str:
    from mechshift_core.options import suggestion

    kind = kind_of(annotation)
    return suggestion(value, map(str, get_args(kind))) if get_origin(kind) is Literal else ""


def _plain(error: Any, context: Any) -> str:
    """The parser's own message, as part of a sentence; of an unknown option with the one that comes closest."""
    from mechshift_core.options import suggestion

    name = getattr(error, "option_name", None)
    if type(error).__name__ == "NoSuchOption" and context is not None:
        known = [option for one in context.command.get_params(context) for option in (*one.opts, *one.secondary_opts)]
        return f"there is no option {name}{suggestion(name, [*known, *GLOBAL_FLAGS])}"
    said = _GUESS.sub(r" (did you mean \1?)", str(error.format_message()).rstrip("."))
    return said[:1].lower() + said[1:]


def _command(given: Sequence[str]) -> str:
    first = next((word for word in given if not word.startswith("-")), "")
    return f"{PROGRAM} {first}".rstrip()
