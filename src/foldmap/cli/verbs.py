"""How every verb is run: its outputs are checked first, and whatever goes wrong is one line and exit status 2."""

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from foldmap.cli.outputs import named_paths, refuse_to_overwrite
from foldmap.errors import ConfigError, FoldmapError

F = TypeVar("F", bound=Callable[..., Any])
_UsageError: Any = typer.BadParameter.__base__  # typer brings a click of its own or uses the one that is installed


class Verb(TyperCommand):
    """One verb; no output of it may be what it reads."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Read the options; what is wrong with them is said to be of this verb."""
        try:
            return super().parse_args(ctx, args)
        except _UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def invoke(self, ctx: Any) -> Any:
        """Check what would be written, then run the verb."""
        command = words_of(ctx)
        named = {one.name: (label_of(one), ctx.params.get(one.name)) for one in self.params if one.name}
        for label, value in named.values():
            if any(one != one for one in (value if isinstance(value, tuple) else [value])):  # NaN alone
                raise ConfigError(f"{label} is no number", "give one, or leave it out")
        refuse_to_overwrite(command, *named_paths(command, named))
        return super().invoke(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """List arguments, the options that matter first, then those of each panel."""
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for one in self.get_params(ctx):
            record = one.get_help_record(ctx)
            if record is not None:
                usual = "Arguments" if one.param_type_name == "argument" else "Options"
                panels.setdefault(getattr(one, "rich_help_panel", None) or usual, []).append(record)
        for name, records in panels.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)


class Verbs(TyperGroup):
    """The group of all verbs; every error that is no bug leaves it as one line and exit status 2."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Read the options before the verb."""
        with _one_line():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        with _one_line(ctx):
            return super().invoke(ctx)


class App(typer.Typer):
    """A group of verbs, each a `Verb`."""

    def command(self, *args: Any, **kwargs: Any) -> Callable[[F], F]:
        """Register a verb."""
        return super().command(*args, **{"cls": Verb, **kwargs})


def option(panel: str, text: str, *names: str, **more: Any) -> Any:
    """An option that the help lists in a panel."""
    return typer.Option(*names, rich_help_panel=panel, help=text, **more)


def words_of(ctx: Any) -> str:
    """The words of a verb, like ``street retrieve``."""
    words: list[str] = []
    while ctx.parent is not None:
        words.insert(0, ctx.info_name)
        ctx = ctx.parent
    return " ".join(words)


def spoken(context: typer.Context) -> set[str]:
    """Names of the parameters that the user gave."""
    return {name for name in context.params if str(context.get_parameter_source(name)).endswith("COMMANDLINE")}


def options_of(
    context: typer.Context, kind: str, panels: Mapping[str, str] | None = None, why: str = ""
) -> dict[str, Any]:
    """Options with a value in the panels that name a kind of observations, like "photos"; others are a ConfigError.

    `panels` are those of options that are shown without one; `why` ends the message about an option of another kind.
    """
    own, said = {}, spoken(context)
    for one in context.command.params:
        name = str(one.name)
        panel = getattr(one, "rich_help_panel", None) or (panels or {}).get(name, "")
        if kind in panel.lower():
            own[name] = context.params[name]
        elif panel and name in said:
            raise ConfigError(f"{label_of(one)} is for {panel.lower()}{why}", f"leave {label_of(one)} out")
    return {name: value for name, value in own.items() if value is not None}


def given(context: typer.Context) -> dict[str, Any]:
    """Values of all parameters, for the settings beside a result."""
    return {name: value for name, value in context.params.items() if name != "as_json"}


def label_of(parameter: Any) -> str:
    """What a user calls a parameter: its long option, or what stands for an argument in the usage."""
    if parameter.param_type_name == "option":
        return str(max(parameter.opts, key=len))
    return str(parameter.metavar or parameter.name).strip("[].").lower().removesuffix("...")


@contextmanager
def _one_line(ctx: Any = None) -> Iterator[None]:
    try:
        yield
    except FoldmapError as error:
        line = str(error)
    except ModuleNotFoundError as error:
        from foldmap.formats.extras import missing_extra

        verb = getattr(ctx, "invoked_subcommand", None)
        missing = missing_extra(error, f"foldmap {verb}" if verb else "foldmap")
        if missing is None:
            raise
        line = str(missing)
    except RuntimeError as error:
        if "no locator available" not in str(error):  # numba's, as `_keep_compiled` found no folder either
            raise
        line = "there is no folder to keep compiled code in (name one that only you may write by NUMBA_CACHE_DIR)"
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            raise
        line = _wrong_use(error)
    except OSError as error:
        if error.errno == errno.EPIPE or error.strerror is None:
            raise
        line = f"{error.filename or 'a file'}: {error.strerror} (check the path, its rights and the space left)"
    else:
        return
    typer.echo("error: " + " ".join(line.split()), err=True)
    raise typer.Exit(2)


def _wrong_use(error: Any) -> str:
    """What the parser has to say, and where to read how the verb is used."""
    said = " ".join(error.format_message().split()).rstrip(".")
    verb = error.ctx.command_path if error.ctx is not None else "foldmap"
    return f"{said[:1].lower()}{said[1:]} ({verb} --help says what it takes)"
