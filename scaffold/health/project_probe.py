"""Run by a project's own Python, in the project's folder: what is installed there, and whether the groups match."""

import importlib
import json
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

MARK = "scaffold-check "
# what the data of some tasks tell, where no run has noted it
NUMBERS = {"features": 64, "vocabulary": 256, "shape": (3, 224, 224)}


def look(package: str, distributed: str, precision: str) -> dict[str, Any]:
    """What there is, as far as it can be imported."""
    found: dict[str, Any] = {"python": ".".join(map(str, sys.version_info[:3]))}
    try:
        torch = importlib.import_module("torch")
        found["torch"] = torch.__version__
        found["devices"] = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        if distributed != "none":
            backends = importlib.import_module("torch.distributed")
            known = {"nccl": "is_nccl_available", "gloo": "is_gloo_available"} if backends.is_available() else {}
            found["backends"] = [name for name, asks in known.items() if getattr(backends, asks)()]
        if precision == "bf16" and found["devices"]:
            found["bf16"] = torch.cuda.is_bf16_supported()
        found["groups"] = groups(package)
    except ImportError as error:
        found["missing"] = str(error)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # the project's own code may raise anything
        found["groups_error"] = f"{type(error).__name__}: {error}"
    return found


def groups(package: str) -> dict[str, int]:
    """How many tensors each layer group holds, of the model as it is built for the data of a run, or for two classes."""
    options = importlib.import_module(f"{package}.options").Options()
    two = ("one", "two")  # classes, targets, whatever the data of the task tell
    size = getattr(options, "image_size", 0) or 224  # what most models are made for
    facts = defaultdict(lambda: two, NUMBERS, classes=two, image_size=size)
    facts.update(facts_of_a_run(options))
    build = importlib.import_module(f"{package}.model").build_model
    if hasattr(options, "classes"):  # before 0.4 what the data tell was among the options
        told = {name: value for name, value in facts.items() if hasattr(options, name)}
        model = build(replace(options, **told))
    else:
        model = build(options, facts)
    optim = importlib.import_module(f"{package}.optim")
    if hasattr(optim, "members"):  # before 0.4
        found = optim.members(model)
    else:
        found = importlib.import_module(f"{package}.engine").layer_groups(model, optim.LAYERS)
    return {name: len(parameters) for name, parameters in found.items()}


def facts_of_a_run(options: Any) -> dict[str, Any]:
    """What the data told the newest run that has noted it."""
    records = Path(getattr(options, "run_dir", "run")).glob("*/options.json")
    for record in sorted(records, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            facts = json.loads(record.read_bytes())["facts"]
        except (OSError, ValueError, LookupError, TypeError):
            continue  # of an earlier version, or damaged, which is not what is looked at here
        if isinstance(facts, dict):
            return facts
    return {}


if __name__ == "__main__":
    here = str(Path(__file__).parent)
    sys.path[:] = [".", *(path for path in sys.path if path != here)]  # the project's modules, not ours
    print(MARK + json.dumps(look(*sys.argv[1:])))
