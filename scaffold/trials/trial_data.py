"""What a project is tried with: data, and weights where it looks for them."""

import importlib
import importlib.util
import inspect
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from scaffold.questions.answer_types import MODEL, PACKAGE, WEIGHTS, WEIGHTS_FILE


def prepare(answers: dict[str, Any], images: Path) -> None:
    """What a project is tried with: data, and weights where it looks for them."""
    write_data(images)
    if WEIGHTS.of(answers) != "none":
        write_weights(answers, images)


def write_data(folder: Path) -> None:
    """The sample data of the project's own tests, written by the fixture that they have it from."""
    source = importlib.util.spec_from_file_location("conftest", Path("tests", "conftest.py"))
    assert source
    assert source.loader
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    folder.mkdir()
    inspect.unwrap(module.data_dir)(SimpleNamespace(mktemp=lambda name: folder))


def write_weights(answers: dict[str, Any], images: Path) -> None:
    """Weights where the project looks for them, so that nothing is downloaded."""
    import torch

    if WEIGHTS.of(answers) == "pretrained":
        timm, save_file = importlib.import_module("timm"), importlib.import_module("safetensors.torch").save_file
        model = MODEL.full_name(answers).removeprefix("timm:")
        repository = timm.get_pretrained_cfg(model).hf_hub_id.replace("/", "--")
        kept = Path("torch-home", "huggingface", "hub", f"models--{repository}")  # as it is after a download
        (kept / "refs").mkdir(parents=True)
        (kept / "refs" / "main").write_text("0" * 40)
        (kept / "snapshots" / ("0" * 40)).mkdir(parents=True)
        save_file(timm.create_model(model).state_dict(), kept / "snapshots" / ("0" * 40) / "model.safetensors")
        return
    if WEIGHTS.of(answers) == "imagenet":
        from torchvision.models import get_model

        model = MODEL.full_name(answers)
        file = downloaded(model)
        state = get_model(model).state_dict()
    else:
        part = {name: importlib.import_module(f"{PACKAGE.of(answers)}.{name}") for name in ("options", "data", "model")}
        opt = part["options"].Options(data_dir=str(images), batch_size=16)
        facts = part["data"].MyDataset(f"{images}/train", opt).facts
        state = part["model"].build_model(opt, facts).state_dict()
        if WEIGHTS.of(answers) == "coco":
            source = Path(PACKAGE.of(answers), "pretrained.py").read_text(encoding="utf-8")
            (name,) = re.findall(r'get_model_weights\("(\w+)"\)', source)
            file = downloaded(name)
        else:
            file = Path(WEIGHTS_FILE.of(answers))
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, file)


def downloaded(name: str) -> Path:
    """Where torchvision looks for the weights of a model before it downloads them."""
    from torchvision.models import get_model_weights

    return Path("torch-home", "hub", "checkpoints", Path(get_model_weights(name).DEFAULT.url).name)
