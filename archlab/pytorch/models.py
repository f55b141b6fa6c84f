"""Models by name or path, built on the meta device without weights, and the inputs that they take by default."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from archlab.errors import ReadError, UsageError, nearest
from archlab.ir import TensorSpec

Inputs = tuple[tuple[Any, ...], Mapping[str, TensorSpec]]
"""What a model is given by position, tensors or lists of them, and by name."""
NOTHING: Inputs = ((), {})


def torchvision_model(text: str, arguments: Mapping[str, Any]) -> tuple[nn.Module, Inputs]:
    """Return ``NAME[:WEIGHTS]`` of torchvision with that entry's own arguments, never its weights."""
    models = _library("torchvision.models", "torchvision")
    name, _, entry = text.partition(":")
    if name not in models.list_models():
        raise UsageError(f"torchvision has no model {name!r}{nearest(name, models.list_models())}")
    weights = _entry(models, name, entry)
    if _is_detector(models, name):  # with weights its norms are frozen, so it is built as if it had them
        with _no_weights(models):
            build = partial(models.get_model, name, weights=weights if entry else None, **arguments)
            return _built(build, f"torchvision:{text}"), _torchvision_input(name, weights)
    chosen = {**(_entry_arguments(name, weights) if entry else _quick_arguments(name)), **arguments}
    model = _built(lambda: models.get_model(name, weights=None, **chosen), f"torchvision:{text}")
    return model, _torchvision_input(name, weights)


def _is_detector(models: Any, name: str) -> bool:
    return name in models.list_models(module=models.detection)


def _entry(models: Any, name: str, entry: str) -> Any:
    weights = models.get_model_weights(name)
    if not entry:
        return getattr(weights, "DEFAULT", None)
    if entry not in weights.__members__:
        raise UsageError(f"torchvision:{name} has no weights {entry!r}{nearest(entry, weights.__members__)}")
    return weights[entry]


def _quick_arguments(name: str) -> dict[str, Any]:
    """Return what spares a constructor its initialisation."""
    arguments: dict[str, Any] = {"init_weights": False} if name.endswith(("googlenet", "inception_v3")) else {}
    if any(word in name for word in ("rcnn", "retinanet", "fcos", "ssd", "deeplab", "fcn_", "lraspp")):
        arguments["weights_backbone"] = None
    if name.startswith("quantized_"):
        arguments["quantize"] = False
    return arguments


def _entry_arguments(name: str, weights: Any) -> dict[str, Any]:
    """Return the arguments that torchvision itself gives its constructor for a weight entry."""
    arguments, meta = _quick_arguments(name), weights.meta
    if meta.get("categories") and not name.startswith("raft"):
        arguments["num_classes"] = len(meta["categories"])
    if "keypoint_names" in meta:
        arguments["num_keypoints"] = len(meta["keypoint_names"])
    if name.startswith(("deeplab", "fcn_")):
        arguments["aux_loss"] = True
    if name.endswith("googlenet"):
        arguments.update(transform_input=True, aux_logits=False)
    if name.endswith("inception_v3"):
        arguments.update(transform_input=True, aux_logits=True)
    if name.startswith("vit_"):
        arguments["image_size"] = meta["min_size"][0]
    return arguments


def _torchvision_input(name: str, weights: Any) -> Inputs:
    """Return what torchvision itself counts a model for: of a detector, a list of images of any size."""
    if weights is None:
        return NOTHING
    preset = weights.transforms()
    kind = type(preset).__name__
    if kind == "ObjectDetection":
        return ([TensorSpec((3, 512, 512))],), {}
    if kind == "OpticalFlow":
        return (TensorSpec((1, 3, 512, 512)),) * 2, {}
    sides = getattr(preset, "crop_size", None) or getattr(preset, "resize_size", None)
    if sides is None:
        return NOTHING
    sides = tuple(sides) * (2 if len(sides) == 1 else 1)
    return (TensorSpec((1, 3, 16, *sides) if "Video" in kind else (1, 3, *sides)),), {}


@contextmanager
def _no_weights(models: Any) -> Iterator[None]:
    """Let constructors of torchvision that want weights go without: nothing is fetched, nothing is loaded."""
    fetch, load = models.WeightsEnum.get_state_dict, nn.Module.load_state_dict
    try:
        models.WeightsEnum.get_state_dict = lambda self, *_, **__: {}
        nn.Module.load_state_dict = lambda self, *_, **__: None  # type: ignore[method-assign]
        yield
    finally:
        models.WeightsEnum.get_state_dict = fetch
        nn.Module.load_state_dict = load  # type: ignore[method-assign]


def timm_model(name: str, arguments: Mapping[str, Any]) -> tuple[nn.Module, Inputs]:
    """Return a model of timm, never its weights, for the input of its own configuration."""
    timm = _library("timm", "timm")
    if not timm.is_model(name.partition(".")[0]):
        raise UsageError(f"timm has no model {name!r}{nearest(name, timm.list_models())}")
    model = _built(lambda: timm.create_model(name, pretrained=False, **arguments), f"timm:{name}")
    size = (getattr(model, "default_cfg", None) or {}).get("input_size")
    return model, (((TensorSpec((1, *size)),), {}) if size else NOTHING)


def transformers_model(text: str, arguments: Mapping[str, Any]) -> tuple[nn.Module, Inputs]:
    """Return a transformers model of a type's default configuration or of a configuration file, never weights."""
    transformers = _library("transformers", "transformers")
    config = _configuration(transformers, text, arguments)
    kind = _auto_class(transformers, config)
    model = _built(lambda: kind.from_config(config), f"hf:{text}")
    size = getattr(config, "image_size", None)
    if isinstance(size, int) and not hasattr(config, "vocab_size"):
        return model, ((), {"pixel_values": TensorSpec((1, getattr(config, "num_channels", 3), size, size))})
    return model, (((), {"input_ids": TensorSpec((1, 128), "int64")}) if hasattr(config, "vocab_size") else NOTHING)


def _configuration(transformers: Any, text: str, arguments: Mapping[str, Any]) -> Any:
    path = Path(text)
    given: dict[str, Any] = {}
    if path.is_file():
        try:
            given = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise ReadError(f"hf:{path}: is no configuration of transformers: {error}") from None
        if not isinstance(given, dict) or not isinstance(given.get("model_type"), str):
            raise ReadError(f"hf:{path}: is no configuration of transformers: it names no model_type")
        text = given.pop("model_type")
    known = transformers.CONFIG_MAPPING
    if text not in known:
        raise UsageError(f"transformers has no model type {text!r}{nearest(text, list(known.keys()))}")
    return known[text](**{**given, **arguments})


def _auto_class(transformers: Any, config: Any) -> Any:
    """Return the first of the usual heads that exists for a configuration."""
    for name in ("AutoModelForCausalLM", "AutoModelForMaskedLM", "AutoModelForImageClassification", "AutoModel"):
        kind = getattr(transformers, name)
        if type(config) in kind._model_mapping:
            return kind
    raise UsageError(f"transformers has no model for {type(config).__name__}")


def module_model(text: str, arguments: Mapping[str, Any]) -> tuple[Any, Inputs]:
    """Return ``package.module:name`` or ``file.py:name``: an instance, or what a class or factory returns."""
    where, _, name = text.rpartition(":")
    module = _from_file(Path(where)) if where.endswith(".py") else _imported(where)
    if not hasattr(module, name):
        raise UsageError(f"{where} has no {name!r}{nearest(name, dir(module))}")
    found = getattr(module, name)
    if isinstance(found, nn.Module):
        return found, NOTHING
    if not callable(found):
        raise UsageError(f"{text} is {type(found).__name__}; name a module, a class or a function that makes one")
    made = _built(lambda: found(**arguments), text)
    if not callable(made):
        raise UsageError(f"{text} returned {type(made).__name__}, which is no model")
    return made, NOTHING


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise ReadError(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location(f"archlab_target_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ReadError(f"{path}: fails when it is imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.parent.resolve()))
    return module


def _imported(name: str) -> Any:
    sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and name.startswith(error.name):
            raise UsageError(f"there is no module {name!r}") from None
        raise ReadError(f"{name}: fails when it is imported: {error}") from error
    except Exception as error:
        raise ReadError(f"{name}: fails when it is imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove("")


def _library(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        raise UsageError(f"{package} is not installed; pip install {package}") from None


def _built(build: Callable[[], Any], what: str) -> Any:
    """Return a model built on the meta device; one that needs elements is built without initialisation first."""
    try:
        if _real.get():
            with _no_initialisation(), _Unfilled():
                return build()
        try:
            with torch.device("meta"):
                return build()
        except (RuntimeError, NotImplementedError):  # such as stochastic depth, which reads a linspace
            with _no_initialisation():
                made = build()
            return made.to("meta") if isinstance(made, nn.Module) else made
    except Exception as error:
        if isinstance(error, UsageError):
            raise
        kind = UsageError if isinstance(error, TypeError) else ReadError
        raise kind(f"{what}: the constructor failed: {type(error).__name__}: {error}") from error


_real: ContextVar[bool] = ContextVar("real", default=False)


@contextmanager
def real_elements() -> Iterator[None]:
    """Build models with real elements: weights that a constructor would draw are zeros, all else as it says.

    Such zeros take no memory before something is written to them.
    """
    token = _real.set(True)
    try:
        yield
    finally:
        _real.reset(token)


class _Unfilled(TorchFunctionMode):
    """Makes zeros of what is left empty, and draws nothing."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in _DRAWS:
            return args[0]
        return (torch.zeros if function is torch.empty else function)(*args, **(kwargs or {}))


_DRAWS = frozenset((Tensor.normal_, Tensor.uniform_, Tensor.random_, Tensor.exponential_, Tensor.erfinv_))


@contextmanager
def _no_initialisation() -> Iterator[None]:
    """Run constructors without their random initialisation, which would take most of the time."""
    names = [name for name in dir(nn.init) if name.endswith("_") and not name.startswith("_")]
    kept = {name: getattr(nn.init, name) for name in names}
    try:
        for name in names:
            setattr(nn.init, name, lambda tensor, *_, **__: tensor)
        yield
    finally:
        for name, function in kept.items():
            setattr(nn.init, name, function)


BUILDERS: Mapping[str, Callable[[str, Mapping[str, Any]], tuple[Any, Inputs]]] = {
    "torchvision": torchvision_model,
    "timm": timm_model,
    "hf": transformers_model,
}
"""The reserved prefixes of targets."""
