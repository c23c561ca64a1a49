"""Parts of the pages that are made from the code, so that they cannot disagree with it.

A line `<!-- from the code: commands -->` in a page is replaced by the commands of `objstress`,
`room fem` by what `objstress.fem` offers, `case` and `settings` by tables of the keys of a case
and of a potential's settings, `potentials` by a table of the universal potentials, `doors` by a
table of the rooms, `verbs` by what `objstress` itself offers. The notebooks are copied into
tutorials/.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import re
import shutil
import types
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from sphinx.pycode import ModuleAnalyzer

HERE = Path(__file__).parents[1]
MARK = re.compile(r"^<!-- from the code: (\w+) ?(\w*) -->$", re.M)
# Rooms of one file, which have no `__all__` of their own.
GROUND = {
    "errors": ("InputError", "ConvergenceError", "OutsideDomainWarning"),
    "reports": ("Claim", "claims_table", "environment"),
}


# -- rooms -----------------------------------------------------------------------------------


def names(room: str) -> list[str]:
    """What a room offers, in the alphabet's order."""
    module = importlib.import_module(f"objstress.{room}")
    offered = getattr(module, "__all__", None) or GROUND.get(room, ())
    return sorted(offered, key=str.lower)


def first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def room_page(room: str) -> str:
    """Introduction, table and description of each name of a room."""
    module = importlib.import_module(f"objstress.{room}")
    pieces = [f"```{{eval-rst}}\n.. automodule:: objstress.{room}\n   :no-members:\n```\n"]
    rows, bodies = [], []
    for name in names(room):
        thing = getattr(module, name)
        path = f"objstress.{room}.{name}"
        if inspect.isclass(thing):
            kind, options = "autoclass", ["members"]
            options += [] if thing.__base__ is object else ["show-inheritance"]
        elif callable(thing):
            kind, options = "autofunction", []
        elif isinstance(thing, types.ModuleType):
            kind, options = "automodule", ["members"]
            path = thing.__name__
        else:
            kind, options = "py:data", []
        role = "py:mod" if kind == "automodule" else "py:obj"
        text = constant(room, name) if kind == "py:data" else first_line(thing)
        rows.append(f"| {{{role}}}`{name} <{path}>` | {cell(text.partition(chr(10))[0])} |")
        lines = [f".. {kind}:: {path}", *(f"   :{option}:" for option in options)]
        if kind == "py:data":
            lines += ["", *(f"   {escaped(line)}" for line in text.splitlines())]
        bodies.append("```{eval-rst}\n" + "\n".join(lines) + "\n```\n")
    if rows:
        pieces.append("\n".join(["| name | what it is |", "| --- | --- |", *rows]) + "\n")
    return "\n".join(pieces + bodies)


def constant(room: str, name: str) -> str:
    """The text below a constant; its own docstring is that of its class."""
    stub = Path(importlib.import_module(f"objstress.{room}").__file__ or "").with_suffix(".pyi")
    match = re.search(rf"^from \.([\w.]+) import {name} as", stub.read_text(), re.M)
    if match is None:
        return ""
    found = ModuleAnalyzer.for_module(f"objstress.{room}.{match.group(1)}").find_attr_docs()
    return "\n".join(found.get(("", name), [])).strip()


ROOMS = [
    "errors",
    "reports",
    "symmetry",
    "elasticity",
    "graphs",
    "nn",
    "models",
    "laws",
    "calculators",
    "spectra",
    "labels",
    "fem",
    "md",
    "training",
    "properties",
    "docking",
    "service",
    "workflows",
    "io",
]
"""From the ground up."""


def verbs() -> str:
    """What `import objstress` offers besides the rooms, with links to where it is described."""
    top = importlib.import_module("objstress")
    rows = []
    for name in sorted(top.__all__, key=str.lower):
        thing = getattr(top, name)
        if isinstance(thing, types.ModuleType):
            continue
        room = next((r for r in ROOMS if name in names(r)), None)
        shown = f"{{py:obj}}`{name} <objstress.{room}.{name}>`" if room else f"`{name}`"
        about = cell(first_line(thing)) if callable(thing) else ""
        rows.append(f"| {shown} | {about} |")
    return "\n".join(["| name | what it is |", "| --- | --- |", *rows])


def doors() -> str:
    """The rooms, from the ground up, each with its first line."""
    rows = []
    for room in ROOMS:
        about = cell(first_line(importlib.import_module(f"objstress.{room}")))
        rows.append(f"| [`objstress.{room}`](api/{room}.md) | {about} |")
    return "\n".join(["| room | what it is |", "| --- | --- |", *rows])


def potentials() -> str:
    """What is to be known of the universal potentials, the best first."""
    from objstress.calculators import UNIVERSAL

    rows = ["| `--model` | functional, licence | weights | known to be wrong | paper |"]
    rows.append("| --- | --- | --- | --- | --- |")
    for name, known in UNIVERSAL.items():
        about = f"{known.functional}, {known.licence}"
        rows.append(
            f"| `{name}` | {about} | {known.weights} | {cell(known.faults)} | {known.citation} |"
        )
    return "\n".join(rows)


# -- commands --------------------------------------------------------------------------------


def commands() -> str:
    """Each command with its usage, its text and a table of its arguments and options."""
    import objstress.cli.entry  # noqa: F401  (commands enter themselves)
    from objstress.cli.app import app

    pieces = []
    known = {c.name or c.callback.__name__.replace("_", "-"): c for c in app.registered_commands}
    for name, command in sorted(known.items()):
        if command.hidden or command.deprecated:
            continue
        rows, usage = [], [f"objstress {name}"]
        hints = typing.get_type_hints(command.callback, include_extras=True)
        for parameter in inspect.signature(command.callback).parameters.values():
            spelled, is_option, row = parameter_row(parameter, hints[parameter.name])
            rows.append(row)
            if not is_option or parameter.default is inspect.Parameter.empty:
                usage.append(spelled)
        about = inspect.cleandoc(command.help or command.callback.__doc__ or "")
        head = ["| argument or option | default | meaning |", "| --- | --- | --- |"]
        pieces += [f"## {name}\n", markdown(about) + "\n"]
        pieces += [f"```text\n{' '.join([*usage, '[OPTIONS]'])}\n```\n"]
        pieces.append("\n".join(head + rows) + "\n")
    return "\n".join(pieces)


def parameter_row(parameter: inspect.Parameter, hint: Any) -> tuple[str, bool, str]:
    """How a parameter is spelled in the usage, whether it is an option, and its row."""
    from typer.models import ArgumentInfo, OptionInfo

    kind, *notes = typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else [hint]
    info = next((n for n in notes if isinstance(n, ArgumentInfo | OptionInfo)), None)
    default = parameter.default
    required = default is inspect.Parameter.empty
    is_option = isinstance(info, OptionInfo) or (info is None and not required)
    plain = [t for t in typing.get_args(kind) if t is not type(None)] or [kind]
    many = typing.get_origin(plain[0]) is list or typing.get_origin(kind) is list
    upper = parameter.name.upper()
    if is_option:
        dashed = parameter.name.replace("_", "-")
        # In `Annotated` the first name of an option stands where its default else stands.
        named = [getattr(info, "default", None), *(getattr(info, "param_decls", None) or ())]
        decls = [d for d in named if isinstance(d, str) and d.startswith("-")]
        decls = decls or [f"--{dashed}/--no-{dashed}" if kind is bool else f"--{dashed}"]
        name = ", ".join(f"`{d}`" for d in decls).replace("/", "` / `")
        spelled = f"{decls[0]} {upper}"
    else:
        spelled = upper + ("..." if many else "")
        spelled = spelled if required else f"[{spelled}]"
        name = f"`{spelled.strip('[]')}`"
    if required:
        shown = "required"
    elif default is None or (default is False and "/" not in name):
        shown = ""
    else:
        shown = f"`{getattr(default, 'value', default)}`"
    about = cell((info and info.help) or "")
    if inspect.isclass(plain[0]) and issubclass(plain[0], enum.Enum):
        about = f"{about} One of {', '.join(f'`{c.value}`' for c in plain[0])}.".strip()
    if is_option and many:
        about = f"{about} May be given again.".strip()
    return spelled, is_option, f"| {name} | {shown} | {about} |"


# -- pydantic models -------------------------------------------------------------------------


def case() -> str:
    from objstress.fem.case.schema import Case

    return models(Case)


def settings() -> str:
    from objstress.training.potential.settings import FitSettings

    return models(FitSettings)


def models(top: type[BaseModel]) -> str:
    """A table of keys for a model and for each model inside it, in the order of their keys."""
    known: list[tuple[str, type[BaseModel]]] = [("", top)]
    pieces = []
    for where, model in known:
        about = {**documented(model)}
        rows = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
        # What a model takes over from another one comes after its own.
        own = sorted(model.model_fields.items(), key=lambda f: f[0] not in model.__annotations__)
        for key, field in own:
            full = f"{where}.{key}" if where else key
            inner = [m for m in models_in(field.annotation) if m not in (k for _, k in known)]
            known += [(full, m) for m in inner]
            text = cell(field.description or about.get(key, ""))
            limits = limits_of(field.metadata)
            kind = type_text(field.annotation) + (f", {limits}" if limits else "")
            rows.append(f"| `{key}` | {kind} | {default_text(field)} | {text} |")
        title = heading(model, where) if where else "Top level"
        summary = own_docstring(model).partition("Attributes:")[0].strip()
        pieces += [f"## {title}\n", markdown(summary) + "\n", "\n".join(rows) + "\n"]
    return "\n".join(pieces)


def heading(model: type[BaseModel], where: str) -> str:
    shape = model.model_fields.get("shape")
    value = typing.get_args(shape.annotation)[0] if shape else None
    return f"`{where}`" + (f", shape `{value}`" if value else "")


def own_docstring(model: type[BaseModel]) -> str:
    """Not pydantic's, where a model has none."""
    return inspect.cleandoc(vars(model).get("__doc__") or "")


def documented(model: type[BaseModel]) -> dict[str, str]:
    """What the Attributes section of a docstring says about each key."""
    text = own_docstring(model).partition("Attributes:")[2]
    entries = re.split(r"\n    (?=\w[\w, ]*: )", text)
    found = {}
    for entry in entries:
        keys, _, about = " ".join(entry.split()).partition(": ")
        found |= {key: about for key in keys.split(", ")}
    return found


def models_in(annotation: Any) -> list[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in typing.get_args(annotation) for m in models_in(part)]


PLAIN = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "any"}


def type_text(annotation: Any) -> str:
    """A type as a reader of YAML knows it."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        limits = limits_of(parts[1:])
        return type_text(parts[0]) + (f", {limits}" if limits else "")
    if origin is typing.Literal:
        return " or ".join(f"`{p}`" for p in parts)
    if origin in (typing.Union, types.UnionType):
        texts = dict.fromkeys(type_text(p) for p in parts if p is not type(None))
        return " or ".join([*texts, *(["null"] if type(None) in parts else [])])
    if origin is tuple:
        if typing.get_origin(parts[0]) is tuple:
            return f"{len(parts)} x {len(typing.get_args(parts[0]))} numbers"
        whole = "integers" if parts[0] is int else "numbers"
        return f"{len(parts)} {whole}"
    if origin is list:
        kind = type_text(parts[0])
        if kind in ("number", "integer", "mapping"):
            kind += "s"
        return f"list of {kind}"
    if origin is dict:
        return f"mapping of {type_text(parts[0])} to {type_text(parts[1])}"
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return "mapping"
    return PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation)))


def limits_of(metadata: Any) -> str:
    """Bounds of a number or a length."""
    signs = {"gt": "> {}", "ge": "≥ {}", "lt": "< {}", "le": "≤ {}"}
    signs |= {"min_length": "at least {}", "max_length": "at most {}"}
    found = []
    for entry in metadata:
        for part in (entry, *getattr(entry, "metadata", ())):
            for name, text in signs.items():
                value = getattr(part, name, None)
                if value is not None:
                    found.append(text.format(value))
    return ", ".join(dict.fromkeys(found))


def default_text(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is PydanticUndefined or isinstance(value, BaseModel):
        return ""
    if value is None:
        return "`null`"
    if value == "":
        return '`""`'
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, dict):
        return "`{" + ", ".join(f"{k}: {v}" for k, v in value.items()) + "}`"
    return f"`{list(value) if isinstance(value, tuple) else value}`"


# -- text ------------------------------------------------------------------------------------


def cell(text: str) -> str:
    """A text that may stand in a cell of a table."""
    return markdown(" ".join(text.split())).replace("|", "\\|")


def markdown(text: str) -> str:
    """Stars, dollars and braces that stand for themselves outside backticks."""
    parts = re.split(r"(`+[^`]*`+)", text)
    return "".join(p if k % 2 else re.sub(r"([*$<\[\]])", r"\\\1", p) for k, p in enumerate(parts))


DIRECTIVE = re.compile(r"^\s*\.\. [\w-]+::|::\s*$")


def plain_docstring(
    app: Any, what: Any, name: Any, thing: Any, options: Any, docstring: list[str]
) -> None:
    """Escape what reStructuredText would read as markup: `|E|`, `W_` and `*` in plain sentences.

    Directives (`.. math::`) and literal blocks stay as they are. An indented block after a
    blank line is code, as the docstrings of the rooms have it.
    """
    result: list[str] = []
    literal: int | None = None
    section = False
    lines = whole_names(docstring)
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if literal is not None and line.strip() and indent <= literal:
            literal = None
        if literal is not None or not line.strip():
            result.append(line)
            continue
        if re.fullmatch(r"(Args|Attributes|Returns|Raises|Yields|Note|Example)s?:", line.strip()):
            section = indent == 0
        elif indent == 0:
            section = False
        before = lines[number - 1].strip() if number else ""
        if not section and indent >= 4 and not before:
            # Code in prose, without a mark of its own.
            literal = indent - 1
            result += ["::", "", line]
            continue
        if DIRECTIVE.search(line):
            literal = indent
            result.append(line)
            continue
        result.append(escaped(line))
    docstring[:] = result


def whole_names(lines: list[str]) -> list[str]:
    """Several arguments of one description, whose names take more than a line, on one line."""
    result: list[str] = []
    for line in lines:
        if result and re.fullmatch(r" {4}(\w+, ?)+", result[-1]):
            result[-1] = f"{result[-1].rstrip()} {line.strip()}"
        else:
            result.append(line)
    return result


def escaped(line: str) -> str:
    parts = re.split(r"(:\w+:`[^`]*`|`+[^`]*`+)", line)
    for k in range(0, len(parts), 2):
        parts[k] = re.sub(r"(\||(?<=\w)_(?=\W|$)|\*(?!\s))", r"\\\1", parts[k])
        if k and re.match(r"\w", parts[k]):
            # The plural of a name in code: "`Field`s".
            parts[k] = "\\ " + parts[k]
    return "".join(parts)


# -- Sphinx ----------------------------------------------------------------------------------


def fill(app: Any, docname: str, source: list[str]) -> None:
    makers = {
        "commands": commands,
        "case": case,
        "settings": settings,
        "doors": doors,
        "verbs": verbs,
        "potentials": potentials,
    }

    def made(match: re.Match[str]) -> str:
        kind, argument = match.groups()
        return room_page(argument) if kind == "room" else makers[kind]()

    source[0] = MARK.sub(made, source[0])


def made_pages(app: Any, env: Any, added: set, changed: set, removed: set) -> list[str]:
    """Pages with a mark: the code that they are made from may have changed."""
    pages = {name: Path(env.doc2path(name)) for name in env.found_docs}
    return [n for n, p in pages.items() if p.suffix == ".md" and MARK.search(p.read_text())]


def copy_notebooks(app: Any) -> None:
    for path in sorted((HERE.parent / "notebooks").glob("*.ipynb")):
        target = HERE / "tutorials" / path.name
        if not target.exists() or target.read_bytes() != path.read_bytes():
            shutil.copy(path, target)


def load_rooms(app: Any) -> None:
    """All of them before autodoc, which writes into the annotations of pydantic's base class."""
    for room in ROOMS:
        for name in names(room):
            getattr(importlib.import_module(f"objstress.{room}"), name)


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", copy_notebooks)
    app.connect("builder-inited", load_rooms)
    app.connect("env-get-outdated", made_pages)
    app.connect("source-read", fill)
    # Before napoleon, whose fields are markup.
    app.connect("autodoc-process-docstring", plain_docstring, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
