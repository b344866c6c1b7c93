"""fp16: the loss is scaled by the rule of torch.amp.GradScaler, a step that overflows is skipped and told, and resuming is exact."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from tests.generated.rendered import importable, render_project, write_images

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding")
Module = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Module]:
    project = render_project(tmp_path_factory.mktemp("fp16") / "halved", precision="fp16", clip=1.0, logger="none")
    with importable(project) as found:
        yield found


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("data") / "images")


@pytest.mark.parametrize("build", [torch.optim.AdamW, torch.optim.SGD])
def test_the_scale_and_the_weights_are_those_of_torchs_own_scaler(
    module: Module, monkeypatch: pytest.MonkeyPatch, build: Any
) -> None:
    scaling = module("engine.scaling")
    monkeypatch.setattr(scaling, "GROWTH_INTERVAL", 3)
    ours, theirs = nn.Linear(3, 2), nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=3)
    scale, steps = 2.0**16, 0
    optimizers = [build(net.parameters(), lr=0.1, weight_decay=0.1) for net in (ours, theirs)]
    noise = torch.Generator().manual_seed(0)
    for number in range(20):
        inputs = torch.randn(4, 3, generator=noise)
        factor = torch.inf if number in (0, 1, 6, 13) else 1.0
        for net, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            loss = net(inputs).square().mean()
            (scale * loss if net is ours else scaler.scale(loss)).backward()
            assert net.weight.grad is not None
            net.weight.grad[0, 0] *= factor
        finite = scaling.unscale(ours, scale)
        assert finite == (factor == 1)
        if not finite:
            for parameter in ours.parameters():
                parameter.grad = None
        optimizers[0].step()
        scaler.step(optimizers[1])
        scaler.update()
        scale, steps = scaling.next_scale(scale, steps, not finite)

        assert scale == scaler.get_scale()
        for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(one, two)


def state(folder: Path) -> dict[str, Any]:
    """Where a run stands."""
    newest = max((folder / "1" / "checkpoints").iterdir(), key=lambda path: int(path.name))
    found: dict[str, Any] = json.loads((newest / "state.json").read_text())
    return found | {"weights": torch.load(newest / "model.pt", weights_only=True)}


def same(one: dict[str, Any], two: dict[str, Any]) -> bool:
    weights, others = one.pop("weights"), two.pop("weights")
    return one == two and all(torch.equal(weights[name], others[name]) for name in weights)


def stop_after(measured: Callable[..., None], epochs: int) -> Callable[..., None]:
    """Ends a run after so many epochs, whatever its schedule is."""

    def stop(self: Any, *values: Any) -> None:
        measured(self, *values)
        if self.progress.epoch == epochs:
            raise KeyboardInterrupt

    return stop


@pytest.mark.parametrize("accumulate", [1, 2])
def test_steps_that_overflow_are_skipped_and_told_and_the_scale_goes_on_exactly(
    module: Module, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accumulate: int
) -> None:
    monkeypatch.setattr(module("engine.scaling"), "START", 2.0**36)
    monkeypatch.setattr(module("engine.scaling"), "GROWTH_INTERVAL", 4)
    folders = tmp_path / "whole", tmp_path / "twice"
    train, run = module("train").train, module("engine.run").Run
    for folder, parts in zip(folders, ((4,), (2, 3, 4)), strict=True):
        opt = module("options").Options(
            data_dir=str(images), run_dir=str(folder), run=1, epochs=4, batch_size=6, num_workers=0, log_every=1,
            accumulate=accumulate,
        )  # fmt: skip
        assert opt.precision == "fp16"
        for epochs in parts:
            with module("engine").Process.start(opt) as process, monkeypatch.context() as patched:
                if epochs < 4:
                    patched.setattr(run, "measured", stop_after(run.measured, epochs))
                    with pytest.raises(KeyboardInterrupt):
                        train(opt, process)
                else:
                    train(opt, process)

    log = (folders[0] / "1" / "train.log").read_text()
    skipped = [int(step) for step in re.findall(r"step (\d+) was skipped: its gradients overflow in fp16", log)]
    assert len(skipped) > 3
    assert skipped[:3] == [1, 2, 3]
    assert f"the loss is scaled by {2.0**35:g} from here on" in log
    whole = state(folders[0])
    assert 1 < whole["scale"] < 2.0**36
    assert same(whole, state(folders[1]))


def test_gradients_that_overflow_at_any_scale_end_the_run(
    module: Module, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opt = module("options").Options(
        data_dir=str(images), run_dir=str(tmp_path / "run"), epochs=20, batch_size=16, num_workers=0, log_every=1000
    )
    monkeypatch.setattr(module("engine.scaling"), "unscale", lambda model, scale: False)

    with (
        module("engine").Process.start(opt) as process,
        pytest.raises(module("engine").RunError, match=r"step 17 was skipped: .* take --precision bf16 or fp32"),
    ):
        module("train").train(opt, process)


def test_it_learns_as_in_32_bits(module: Module, images: Path, tmp_path: Path) -> None:
    reached = {}
    for precision in ("fp16", "fp32"):
        opt = module("options").Options(
            data_dir=str(images), run_dir=str(tmp_path / precision), run=1, epochs=8, batch_size=16, num_workers=0
        )
        opt = replace(opt, precision=precision)
        with module("engine").Process.start(opt) as process:
            reached[precision] = module("train").train(opt, process)

    assert reached["fp16"] == pytest.approx(reached["fp32"], abs=0.11)
    assert "was skipped" not in (tmp_path / "fp32" / "1" / "train.log").read_text()
