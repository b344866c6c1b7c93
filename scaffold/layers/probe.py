"""Run by a user's own Python: builds a model without its numbers, offline, and says what it is made of."""

import importlib
import importlib.util
import inspect
import io
import json
import socket
import sys
import traceback
from collections import OrderedDict, defaultdict
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

MARK = "scaffold-inspect "
# What a constructor may ask for without a default, and what it is given.
USUAL = {"num_classes": 10, "num_targets": 10, "num_labels": 10, "classes": 10, "n_classes": 10, "out_features": 10}
USUAL |= {"channels": 3, "in_channels": 3, "in_chans": 3, "image_size": 224, "img_size": 224}


class Wrong(Exception):
    """What is wrong, in a sentence: `kind` is answer, missing or failed."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def main(kind: str, target: str, arguments: str) -> dict[str, Any]:
    """What a model is made of."""
    hosts = offline()
    try:
        import torch
    except ImportError as error:
        raise Wrong("missing", f"{sys.executable} has no torch: {error}") from None
    make, about = {"class": of_class, "timm": of_timm, "run": of_run}[kind](target, json.loads(arguments))
    notes: list[str] = []
    try:
        try:
            with torch.device("meta"):
                made = make()
        except NotImplementedError:  # it looks at numbers
            made = make()
            notes.append("it could not be built without its numbers, and was built with them")
        except (RuntimeError, TypeError, ValueError) as error:
            if hosts or "meta" not in str(error).lower():
                raise
            made = make()
            notes.append("it could not be built without its numbers, and was built with them")
    except Wrong:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001  # the user's own code may raise anything
        if is_offline(error):
            hosts.append("huggingface.co")
        if hosts:
            message = f"{target} wants to download from {hosts[0]} while it is made; make it without pretrained weights"
            raise Wrong("failed", message) from None
        raise Wrong("failed", f"{target} cannot be made: {told_of(error)}") from None
    if hosts:
        notes.append(f"while it is made it wants to download from {hosts[0]}, which was refused")
    if not isinstance(made, torch.nn.Module):
        raise Wrong("answer", f"{target} makes a {type(made).__name__}, which is no torch.nn.Module")
    if next(made.parameters(), None) is None:
        raise Wrong("answer", f"{target} has no parameters")
    lazy = [name for name, one in made.named_parameters() if isinstance(one, torch.nn.UninitializedParameter)]
    if lazy:
        raise Wrong(
            "answer", f"{target} has layers whose size only an input tells, such as {lazy[0]}; give them a size"
        )
    return {**told(made), **about, "notes": notes}


def told(net: Any) -> dict[str, Any]:
    """Parameters, layers, and what can be guessed of a network."""
    import torch

    structure = here("structure")
    pieces = [path for path in structure.pieces(net) if structure.size_of(net, path)]  # not what is tied to another
    last = structure.last_layer(net)
    head = [path for path in pieces if f"{last}.".startswith(f"{path}.")] if last else []
    rest = [path for path in pieces if path not in head]
    seen: dict[str, int] = {}
    convolution = structure.first_convolution(net)
    first = net.get_submodule(convolution) if convolution else None
    if first is not None:
        device, side = first.weight.device, image_side(net)
        try:
            image = torch.zeros(2, first.in_channels, side, side, device=device)
            seen = structure.sides(net.eval(), rest, image)
        except Exception:  # noqa: BLE001  # what it takes is not known
            seen = {}
    stages = structure.stages(net, rest, seen or dict.fromkeys(rest, 0)) if rest else {}
    names: dict[int, list[str]] = defaultdict(list)
    for name, parameter in net.named_parameters(remove_duplicate=False):
        names[id(parameter)].append(name)
    return {
        "parameters": {name: one.numel() for name, one in net.named_parameters()},
        "types": {name: type(layer).__name__ for name, layer in net.named_modules()},
        "pieces": pieces,
        "head": head,
        "stages": stages,
        "tied": [found for found in names.values() if len(found) > 1],
    }


def image_side(net: Any) -> int:
    """The side of images that a model is made for, where it is one of timm's."""
    known = getattr(getattr(net, "backbone", net), "pretrained_cfg", None) or {}
    return int(known.get("input_size", (3, 224, 224))[-1])


def of_class(target: str, given: dict[str, Any]) -> Any:
    """What makes a model of `package.module:Class` or `file.py:Class`."""
    place, _, name = target.rpartition(":")
    try:
        if place.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(place).stem, place)
            assert spec
            assert spec.loader
            sys.path.insert(0, str(Path(place).resolve().parent))
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # the user's own code may raise anything
        kind = "answer" if isinstance(error, ModuleNotFoundError | FileNotFoundError) else "failed"
        raise Wrong(kind, f"{place} cannot be imported: {told_of(error)}") from None
    if not hasattr(module, name):
        known = [one for one, value in vars(module).items() if callable(value) and not one.startswith("_")]
        raise Wrong("answer", f"{place} has no {name}; it has {', '.join(known[:12]) or 'nothing that can be called'}")
    make = getattr(module, name)
    if hasattr(make, "named_parameters") and not isinstance(make, type):  # a model that is made already
        return lambda: make, {}
    try:
        wanted = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):
        return lambda: make(**given), {}
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    needed = [one.name for one in wanted if one.default is one.empty and one.kind in plain and one.name not in given]
    unknown = [name for name in needed if name not in USUAL]
    if unknown:
        words = " ".join(f"--kw {name}=64" for name in unknown)
        raise Wrong("answer", f"{target} needs {', '.join(unknown)}; say what they are, such as {words}")
    arguments = {**{name: USUAL[name] for name in needed}, **given}
    return lambda: make(**arguments), {"arguments": arguments}


def of_timm(name: str, given: dict[str, Any]) -> Any:
    """What makes a model of timm's, with a head, as a project has it."""
    try:
        timm = importlib.import_module("timm")
    except ImportError as error:
        raise Wrong("missing", f"{sys.executable} has no timm: {error}") from None
    from torch import nn

    plain = name.partition(".")[0]
    if not timm.is_model(plain):
        from difflib import get_close_matches

        near = ", ".join(get_close_matches(plain, timm.list_models(), n=3))
        raise Wrong("answer", f"timm {timm.__version__} has no model '{plain}'" + (f"; it has {near}" if near else ""))

    def make() -> Any:
        backbone = timm.create_model(name, num_classes=0, **given)
        features = getattr(backbone, "head_hidden_size", None) or backbone.num_features
        return nn.Sequential(OrderedDict(backbone=backbone, head=nn.Linear(features, 10)))

    return make, {}


def of_run(folder: str, _: dict[str, Any]) -> Any:
    """What makes the model of a run of the project in this folder, and its layer groups."""
    place, package = folder.split("|")
    try:
        engine = importlib.import_module(f"{package}.engine")
        history = importlib.import_module(f"{package}.engine.history")
        options = importlib.import_module(f"{package}.options").Options
        build = importlib.import_module(f"{package}.model").build_model
        layers = importlib.import_module(f"{package}.optim").LAYERS
    except ImportError as error:
        if error.name == f"{package}.engine":
            said = (
                "a run of a project from before 0.4 cannot be looked at; bring it up to date (scaffold update), or name"
            )
            raise Wrong("answer", f"{said} the class of its model, as in {package}.model:CNN") from None
        raise Wrong("missing", f"the project cannot be imported by {sys.executable}: {error}") from None
    try:
        opt, facts = engine.read_options(Path(place), options), history.read_record(Path(place)).facts
    except Exception as error:  # noqa: BLE001  # whatever is wrong with the run
        raise Wrong("answer", f"{place} cannot be read as a run: {error}") from None
    groups = [{"name": name, "layers": paths, "lr": opt.groups[name]} for name, paths in layers.items()]
    return lambda: build(opt, facts), {"groups": groups, "lr": opt.lr}


def offline() -> list[str]:
    """Refuses every connection; the hosts that were asked for."""
    hosts: list[str] = []

    def refused(host: Any, *_: Any, **__: Any) -> Any:
        hosts.append(str(host))
        raise OSError(f"no connection to {host}: scaffold inspect works offline")

    socket.getaddrinfo = refused
    socket.create_connection = lambda address, *_, **__: refused(address[0])
    return hosts


def is_offline(error: BaseException | None) -> bool:
    """Whether huggingface_hub has refused to download, which asks for no connection before."""
    names = {"LocalEntryNotFoundError", "OfflineModeIsEnabled"}
    return error is not None and (type(error).__name__ in names or is_offline(error.__cause__ or error.__context__))


def told_of(error: BaseException) -> str:
    """What went wrong, in a line, and where."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}{f': {line}' if line else ''} ({Path(last.filename).name}, line {last.lineno})"


def here(name: str) -> Any:
    """A module beside this one, which is no part of an installed torch-scaffold."""
    spec = importlib.util.spec_from_file_location(f"scaffold_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    beside = str(Path(__file__).parent)
    sys.path[:] = [".", *(path for path in sys.path if path != beside)]  # the user's modules, not ours
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            result = main(*sys.argv[1:])
    except Wrong as wrong:
        result = {"wrong": wrong.kind, "message": str(wrong)}
    except Exception as error:  # noqa: BLE001  # of a model that is made, but like no other
        result = {"wrong": "failed", "message": f"{sys.argv[2]} cannot be looked at: {told_of(error)}"}
    print(MARK + json.dumps(result))
