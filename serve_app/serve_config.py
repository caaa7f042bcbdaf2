"""Ray Serve's declarative config, read strictly. Ray itself takes any key and says nothing of those that it ignores."""

import difflib
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from ray.serve.config import AutoscalingConfig, GangSchedulingConfig, RequestRouterConfig
from ray.serve.schema import DeploymentSchema, ServeDeploySchema

FREE = frozenset({"args", "user_config", "runtime_env"})
"""Members whose keys are not Ray Serve's to know."""
_WRITTEN_AS_OBJECTS: Mapping[tuple[type[BaseModel], str], type[BaseModel]] = {
    (DeploymentSchema, "autoscaling_config"): AutoscalingConfig,
    (DeploymentSchema, "request_router_config"): RequestRouterConfig,
    (DeploymentSchema, "gang_scheduling_config"): GangSchedulingConfig,
}
"""What Ray declares as any object at all and reads as one of these."""


class ServeConfigError(ValueError):
    """The config is not what Ray Serve reads. The message has a line for each fault."""


def read_serve_config(path: Path) -> dict[str, Any]:
    """The config in a file.

    Raises:
        ServeConfigError: If it is no YAML, has a key that Ray Serve does not know, or a value that it refuses.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ServeConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ServeConfigError(f"{path} is no YAML: {error}") from None
    return checked(document)


def checked(document: object) -> dict[str, Any]:
    """The config, if it is one. Errors as for `read_serve_config`."""
    if not isinstance(document, dict):
        raise ServeConfigError("the config is not an object with the key applications")
    faults = list(_unknown(document, ServeDeploySchema, ""))
    if not faults:
        try:
            ServeDeploySchema.model_validate(document)
        except ValidationError as error:
            faults = [f"{_place(fault['loc'])}: {fault['msg']}" for fault in error.errors()]
    if faults:
        raise ServeConfigError("\n".join(faults))
    return document


def _unknown(value: object, model: type[BaseModel], place: str) -> Iterator[str]:
    """A line for each key under `value` that the model does not have."""
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        here = f"{place}.{key}" if place else str(key)
        field = model.model_fields.get(key)
        if field is None:
            near = difflib.get_close_matches(str(key), list(model.model_fields), n=1)
            yield f"{here}: Ray Serve knows no such key" + (f"; did you mean {near[0]}?" if near else "")
        elif key not in FREE:
            nested = _WRITTEN_AS_OBJECTS.get((model, key)) or _model_in(field.annotation)
            if nested is not None:
                yield from _in_each(inner, nested, here)


def _in_each(value: object, model: type[BaseModel], place: str) -> Iterator[str]:
    if isinstance(value, list):
        for number, item in enumerate(value):
            name = item.get("name", number) if isinstance(item, dict) else number
            yield from _unknown(item, model, f"{place}[{name}]")
    else:
        yield from _unknown(value, model, place)


def _model_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - whatever stands behind a colon
    """The model that a field holds, be it in a list or beside None."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    return next((found for part in typing.get_args(annotation) if (found := _model_in(part)) is not None), None)


def _place(parts: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".") or "the config"
