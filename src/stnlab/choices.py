"""From a configuration node to the object that it names, checked on the way.

Every node with a `_target_` is checked against that class's or function's own signature: names, types and ranges
(`typing.Annotated` with annotated-types), so one place says what is allowed and a user's own class is checked too.
"""

import contextlib
import functools
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from stnlab.errors import StnlabError, nearest

Node = Mapping[str, Any]


def build(node: Node, path: str, **given: Any) -> Any:
    """The object of a node and of the nodes in it. path: where the node stands in the configuration, for messages.

    given: arguments that come from elsewhere. Of these only the ones the target takes are passed. `_partial_: true`
    makes a `functools.partial`. Raises StnlabError for a wrong name, type or range.
    """
    target = locate(node.get("_target_"), path)
    try:
        signature = inspect.signature(target)
    except ValueError as error:
        raise StnlabError(f"{path}._target_={node['_target_']}: its options cannot be known ({error})") from error
    hints = _hints(target if not inspect.isclass(target) else target.__init__)
    takes = {name for name, parameter in signature.parameters.items() if parameter.kind is not parameter.VAR_KEYWORD}
    given = {name: value for name, value in given.items() if name in takes}
    arguments = {}
    for name, value in node.items():
        if name in ("_target_", "_partial_"):
            continue
        here = f"{path}.{name}"
        if name not in takes or name in given:
            raise StnlabError(f"{here}: no such option{nearest(name, takes - set(given) - {'self'})}")
        built = build(value, here) if isinstance(value, Mapping) and "_target_" in value else value
        arguments[name] = check(built, hints.get(name, Any), here)
    if check(node.get("_partial_", False), bool, f"{path}._partial_"):
        return functools.partial(target, **arguments, **given)
    missing = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        and name not in arguments | given
    ]
    if missing:
        raise StnlabError(f"{path}.{missing[0]}: is missing; give a value")
    return target(**arguments, **given)


def _hints(function: Any) -> dict[str, Any]:
    """Types of the arguments. Those that a library imports for type checkers only are left out."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError:
        known: dict[str, Any] = {}
        for name, annotation in inspect.get_annotations(function).items():
            one = types.SimpleNamespace(__annotations__={name: annotation})
            with contextlib.suppress(NameError):
                known |= typing.get_type_hints(one, inspect.unwrap(function).__globals__, include_extras=True)
        return known


def locate(target: object, path: str) -> Callable[..., Any]:
    """The class or function behind a dotted name. Raises StnlabError if there is none."""
    if not isinstance(target, str) or "." not in target:
        raise StnlabError(f"{path}._target_={target}: give the dotted name of a class or function, package.module.Name")
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise StnlabError(f"{path}._target_={target}: cannot be imported ({error})") from error
    if not callable(found):
        raise StnlabError(f"{path}._target_={target}: is no class or function")
    return typing.cast(Callable[..., Any], found)


def check(value: Any, annotation: Any, path: str) -> Any:
    """The value if it has the annotated type and range. Raises StnlabError, saying what would be right."""
    kinds = {typing.get_origin(kind) for kind in (annotation, *typing.get_args(annotation))}  # a tuple, or one or None
    if isinstance(value, list) and tuple in kinds:
        value = tuple(value)
    adapter = TypeAdapter(annotation, config=_config(annotation))
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError as error:
        found = error.errors()
        sayable = [item for item in found if item["type"] != "is_instance_of"]  # an object cannot be typed
        reasons = dict.fromkeys(_reason(item) for item in sayable or found)
        raise StnlabError(f"{path}={_shown(value)}: {' or '.join(reasons)}") from error


def _reason(item: ErrorDetails) -> str:
    """What pydantic says of a value, in the words of command lines: lists, numbers and their entries."""
    bounds = {"too_short": ("least", "min_length"), "too_long": ("most", "max_length")}
    if item["type"] in bounds:
        least_or_most, bound = bounds[item["type"]]
        count = item["ctx"][bound]
        return f"should have at {least_or_most} {count} {'entry' if count == 1 else 'entries'}"
    if item["type"] == "missing" and isinstance(item["loc"][-1], int):
        return "should have more entries"
    said = item["msg"].replace("valid tuple", "valid list").replace("a valid number", "a number")
    return said.removeprefix("Input ").removeprefix("String ")


def _config(annotation: Any) -> ConfigDict | None:
    """Pydantic wants no configuration for types that bring their own, such as dataclasses."""
    own = inspect.isclass(annotation) and hasattr(annotation, "__dataclass_fields__")
    return None if own else ConfigDict(arbitrary_types_allowed=True)


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, tuple):  # made of a list
        value = list(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
