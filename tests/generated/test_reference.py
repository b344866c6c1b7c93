"""The reference design, piece by piece and by its own names, in a rendered project: what it promises, and its traps."""

import json
import logging
import pickle
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.generated.rendered import importable, render_project, write_images

# torchvision announces that its decoders will move to another package
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding")

Module = Callable[[str], ModuleType]
GROUPS = ["backbone=0.1", "interaction=1", "large_conv1_1=1", "large_conv1_2=1", "classifier=1"]
LOSSES = ["cross_entropy=1", "mse=1", "triplet=1", "hinge_embedding=1"]


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Module]:
    """The modules of a project with the reference's five layer groups, its losses, its optimizer and its scheduler."""
    flags: dict[str, Any] = {"model": "my_nets.net:Net", "layer_groups": GROUPS, "losses": LOSSES}
    flags |= {"optimizer": "sgd", "scheduler": "multistep", "warmup": 0}
    flags |= {"weights": "file", "weights_skip": ["classifier"], "distributed": "ddp"}
    with importable(render_project(tmp_path_factory.mktemp("of") / "reference", **flags)) as modules:
        yield modules


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("data") / "images")


@pytest.fixture
def process(module: Module) -> Iterator[Any]:
    """This process, alone."""
    with module("engine").Process.start(module("options").Options()) as process:
        yield process


@pytest.fixture
def opt(module: Module, images: Path, here: Path) -> Any:
    opt = module("options").Options(data_dir=str(images), batch_size=16, epochs=4, log_every=1, num_workers=0)
    net = module("model").build_model(opt, module("data").MyDataset(images / "train", opt).facts)
    torch.save(net.state_dict(), here / "weights.pt")
    return replace(opt, weights_file=str(here / "weights.pt"))


@pytest.fixture
def net(module: Module, opt: Any) -> nn.Module:
    """The model, for the classes of the images."""
    facts = module("data").MyDataset(opt.data_dir + "/train", opt).facts
    model: nn.Module = module("model").build_model(opt, facts)
    return model


@pytest.fixture(autouse=True)
def warnings_are_heard_anew() -> Iterator[None]:
    """Each test of pytest's catches warnings for itself, so the logging of them has to begin in it."""
    logging.captureWarnings(False)
    yield
    logging.captureWarnings(False)


# LOG


def test_an_evaluation_leaves_the_model_as_it_was(module: Module, process: Any) -> None:
    net = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    net[0].eval()  # frozen

    with process.evaluating(net):
        assert not any(layer.training for layer in net.modules())

    assert [layer.training for layer in (net, *net)] == [True, False, True]


def test_a_data_set_in_memory_has_what_the_data_set_has(module: Module, opt: Any, process: Any) -> None:
    kept, _ = module("data").load_data(opt, process)

    assert type(kept).__name__ == "InMemory"
    assert kept.labels.tolist() == kept.dataset.labels.tolist()
    assert kept.training
    assert len(pickle.loads(pickle.dumps(kept))) == len(kept)
    with pytest.raises(AttributeError, match="nonsense"):
        kept.nonsense  # noqa: B018


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_train_logger_writes_time_and_message_to_its_run_and_to_the_terminal(
    module: Module, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = module("engine").train_logger(7)
    log.info("größer")

    written = lines(here / "run" / "7" / "train.log")
    assert [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "", line) for line in written] == ["größer"]
    assert written[0] != "größer"
    assert capsys.readouterr().err.splitlines() == written


def test_train_logger_called_twice_says_everything_once_and_only_in_the_new_run(
    module: Module, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger().addHandler(root := logging.StreamHandler())
    for number in (1, 1, 2):
        log = module("engine").train_logger(number)
    log.info("once")
    text = "a warning"
    warnings.warn(text, stacklevel=1)
    logging.getLogger().removeHandler(root)

    assert lines(here / "run" / "1" / "train.log") == []
    written = lines(here / "run" / "2" / "train.log")
    assert sum("once" in line for line in written) == 1
    assert sum(text in line for line in written) == 1
    assert capsys.readouterr().err.count("once") == 1


def test_other_processes_keep_their_warnings_to_themselves(module: Module, here: Path) -> None:
    log = module("engine").train_logger(1, rank=1)
    log.info("nothing")
    assert list((here / "run" / "1").iterdir()) == []

    log.warning("something")

    assert [path.name for path in (here / "run" / "1").iterdir()] == ["train.rank1.log"]


# SEED


def draws() -> list[Any]:
    return [torch.rand(3).tolist(), np.random.rand(3).tolist(), __import__("random").random()]


def test_setup_seed_repeats_torch_numpy_and_random(module: Module) -> None:
    setup_seed = module("engine").setup_seed

    setup_seed(2022)
    first = draws()
    setup_seed(2022)
    again = draws()
    setup_seed(2023)

    assert first == again
    assert first != draws()


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_setup_seed_takes_any_whole_number(module: Module, seed: int) -> None:
    module("engine").setup_seed(seed)


@pytest.mark.parametrize(("saved_on", "name"), [("mps", "mps"), ("cuda", "device")])
def test_the_random_numbers_of_an_accelerator_go_on_where_it_is_of_the_same_kind(
    module: Module, monkeypatch: pytest.MonkeyPatch, saved_on: str, name: str
) -> None:
    class Accelerator:
        state = torch.arange(3, dtype=torch.uint8)

        def get_rng_state(self) -> Tensor:
            return self.state

        def set_rng_state(self, state: Tensor) -> None:
            self.state = state

    accelerators = {"mps": Accelerator(), "cuda": Accelerator()}
    here = torch.device(saved_on)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: here)
    monkeypatch.setattr(torch, "get_device_module", lambda device: accelerators[device.type])
    saved = module("engine.seed").rng_state()
    assert set(saved) == {"torch", "host", name}

    for accelerator in accelerators.values():
        accelerator.state = torch.zeros(3, dtype=torch.uint8)
    for kind in accelerators:
        here = torch.device(kind)
        module("engine.seed").set_rng_state(saved)

    assert {kind: accelerator.state.tolist() for kind, accelerator in accelerators.items()} == {
        kind: [0, 1, 2] if kind == saved_on else [0, 0, 0] for kind in accelerators
    }


def test_setup_seed_makes_cudnn_repeat_only_where_that_is_wanted(module: Module) -> None:
    for deterministic in (False, True):
        module("engine").setup_seed(1, deterministic)
        assert torch.backends.cudnn.deterministic is deterministic
        assert torch.backends.cudnn.benchmark is not deterministic
    torch.use_deterministic_algorithms(False)


# DATA


def test_mydataset_reads_a_folder_of_classes(module: Module, opt: Any) -> None:
    data = module("data").MyDataset(data_folder=opt.data_dir + "/train", opt=opt)

    image, label = data[13]
    assert len(data) == 48
    assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, 8, 8))
    assert int(label) == 1
    assert data.facts["classes"] == [f"class{number}" for number in range(4)]
    assert (data.facts["image_size"], data.facts["channels"]) == (8, 3)


def test_every_process_has_its_own_share_and_each_epoch_its_own_order(module: Module, opt: Any) -> None:
    sampler = module("engine").EpochBatchSampler
    assert issubclass(sampler, torch.utils.data.Sampler)
    images = module("data").MyDataset(opt.data_dir + "/train", opt)
    cpu = torch.device("cpu")

    orders = []
    for epoch in (0, 1):
        shares = []
        for rank in (0, 1):
            one = sampler(images, opt, module("engine").Process(rank, 2, cpu), train=True)
            one.epoch = epoch
            batches = list(one)
            assert {of for of, _ in batches} == {epoch}
            shares.append([number for _, numbers in batches for number in numbers.tolist()])
        assert sorted(shares[0] + shares[1]) == list(range(48))
        orders.append(shares)
    assert orders[0] != orders[1]


def test_the_last_small_batch_is_left_out_of_training_and_counted_in_validation(
    module: Module, opt: Any, process: Any
) -> None:
    opt = replace(opt, batch_size=20, per_class=5)

    data = module("data").MyDataset(opt.data_dir + "/train", opt)
    val_data = module("data").MyDataset(opt.data_dir + "/val", opt, data.facts)
    train = [len(part.targets) for (part,) in module("data").train_loader(data, opt, process)]
    val = [len(part.targets) for (part,) in module("data").val_loader(val_data, replace(opt, batch_size=16), process)]

    assert train == [20, 20]  # 48 images, and 8 groups of 5 of a class
    assert val == [16, 4]


# NETWORK AND WEIGHTS


def test_pretrained_weights_are_loaded_but_for_the_chosen_layers(
    module: Module, opt: Any, net: Any, process: Any
) -> None:
    donor = module("model").build_model(opt, {"classes": list("abcdefg"), "image_size": 8})  # a head of another size
    state = {f"module.{name}": value for name, value in donor.state_dict().items()}
    torch.save({"model": state}, opt.weights_file)
    head = net.classifier.weight.clone()

    report = module("pretrained").load_weights(net, opt, process)

    assert torch.equal(net.backbone[0].weight, donor.backbone[0].weight)
    assert torch.equal(net.classifier.weight, head)
    assert "random: classifier.weight, classifier.bias" in report


def test_weights_that_do_not_match_are_never_passed_over(module: Module, net: nn.Module) -> None:
    state = net.state_dict()
    for wrong, what in (
        ({f"{'ab'[number % 2]}.{name}": state[name] for number, name in enumerate(state)}, "are missing"),
        ({**state, "interaction.weight": torch.zeros(8, 8, 3, 3)}, "another shape"),
        ({name: value for name, value in state.items() if name != "interaction.bias"}, "interaction.bias"),
    ):
        with pytest.raises(module("engine").RunError, match=what):
            module("pretrained").load_pretrained(net, wrong)


# LAYER GROUPS AND OPTIMIZER


def test_five_layer_groups_have_their_rates(module: Module, opt: Any, net: nn.Module) -> None:
    optimizer = module("optim").build_optimizer(module("optim").optim_params(net, opt), opt)

    rates = {group["name"].split("/")[0]: group["lr"] for group in optimizer.param_groups}
    assert rates == {
        "backbone": pytest.approx(0.1 * opt.lr),
        "interaction": opt.lr,
        "large_conv1_1": opt.lr,
        "large_conv1_2": opt.lr,
        "classifier": opt.lr,
    }
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(map(id, held)) == sorted(map(id, net.parameters()))
    assert isinstance(optimizer, torch.optim.SGD)
    assert all(group["momentum"] == 0.9 and group["nesterov"] for group in optimizer.param_groups)


def test_only_what_multiplies_is_decayed(module: Module, opt: Any, net: nn.Module) -> None:
    for group in module("optim").optim_params(net, replace(opt, weight_decay=5e-4)):
        matrices = all(parameter.ndim > 1 for parameter in group["params"])
        assert group["weight_decay"] == (5e-4 if matrices else 0)


def test_a_step_moves_every_group_by_its_rate(module: Module, opt: Any, net: nn.Module) -> None:
    opt = replace(opt, lr=1.0, weight_decay=0.0)
    optimizer = module("optim").build_optimizer(module("optim").optim_params(net, opt), opt)
    before = {name: value.clone() for name, value in net.named_parameters()}
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)

    optimizer.step()

    for name, value in net.named_parameters():
        rate = 0.1 if name.startswith("backbone") else 1.0
        # the first step of Nesterov's momentum is 1 + momentum gradients long
        torch.testing.assert_close(before[name] - value, torch.full_like(value, 1.9 * rate))


def test_milestones_fall_once_an_epoch_and_not_once_a_batch(module: Module) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    opt = module("options").Options(epochs=70, milestones=(30, 50, 60), gamma=0.1)
    schedule = module("optim").build_scheduler(optimizer, opt, 7)

    after_epochs = []
    for step in range(70 * 7):
        if step % 7 == 0:
            after_epochs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()

    assert after_epochs == pytest.approx([1.0] * 30 + [0.1] * 20 + [0.01] * 10 + [0.001] * 10)


# LOSSES


def loss(module: Module, name: str) -> Callable[..., Tensor]:
    function: Callable[..., Tensor] = getattr(module(f"losses.{name}"), name)
    return function


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Scores (8, 4), embeddings (8, 5) and labels of eight images, two of each class."""
    noise = torch.Generator().manual_seed(3)
    return torch.randn(8, 4, generator=noise), torch.randn(8, 5, generator=noise), torch.arange(8) % 4


def test_cross_entropy_and_mse_are_torchs_own(module: Module, opt: Any, batch: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, _, labels = batch

    one = loss(module, "cross_entropy")(logits, labels, opt)
    two = loss(module, "mse")(logits, labels, opt)

    torch.testing.assert_close(one, nn.CrossEntropyLoss()(logits, labels))
    torch.testing.assert_close(two, nn.MSELoss()(logits.softmax(1), torch.eye(4)[labels]))


def test_hinge_embedding_is_torchs_own_on_all_pairs(
    module: Module, opt: Any, batch: tuple[Tensor, Tensor, Tensor]
) -> None:
    _, embedding, labels = batch
    unit = F.normalize(embedding, dim=1)

    value = loss(module, "hinge_embedding")(embedding, labels, opt)

    kinds: dict[int, list[Tensor]] = {1: [], -1: []}
    for one in range(8):
        for two in range(one + 1, 8):
            target = 1 if labels[one] == labels[two] else -1
            distance = ((unit[one] - unit[two]) ** 2).sum()
            kinds[target].append(nn.HingeEmbeddingLoss(margin=opt.margin)(distance, torch.tensor(target)))
    torch.testing.assert_close(value, sum(torch.stack(terms).mean() for terms in kinds.values()))


def test_triplet_loss_has_the_formula_of_its_paper(module: Module) -> None:
    noise = torch.Generator().manual_seed(1)
    a, p, n = (torch.randn(6, 4, generator=noise) for _ in range(3))
    t1, t2, beta = -1.0, 0.01, 0.002

    value = module("losses.triplet").TripletLoss(t1, t2, beta)(a, p, n)

    total = 0.0
    for row in range(6):
        d_ap, d_an = float(((a[row] - p[row]) ** 2).sum()), float(((a[row] - n[row]) ** 2).sum())
        total += max(d_ap - d_an, t1) + beta * max(d_ap, t2)
    assert float(value) == pytest.approx(total / 6, rel=1e-5)
    assert list(module("losses.triplet").TripletLoss().parameters()) == []


def test_triplet_loss_is_without_its_traps(module: Module) -> None:
    TripletLoss = module("losses.triplet").TripletLoss

    with pytest.raises(ValueError, match="minus the margin"):
        TripletLoss(t1=1.0)
    with pytest.raises(ValueError, match="shapes differ"):
        TripletLoss()(torch.zeros(4, 8), torch.zeros(8), torch.zeros(4, 8))

    same = torch.ones(2, 3, requires_grad=True)
    TripletLoss()(same, same, same).backward()
    assert same.grad is not None
    assert torch.isfinite(same.grad).all()

    huge = torch.full((2, 3), 300.0, dtype=torch.float16)
    assert torch.isfinite(TripletLoss()(huge, -huge, huge))

    near, far = torch.zeros(1, 2), torch.full((1, 2), 9.0)
    assert float(TripletLoss()(near, near, far)) == pytest.approx(-1 + 0.002 * 0.01)


def test_semi_hard_triplets_have_a_gradient(module: Module) -> None:
    anchor = torch.zeros(1, 1, requires_grad=True)

    module("losses.triplet").TripletLoss()(anchor, torch.tensor([[0.5]]), torch.tensor([[0.8]])).backward()

    assert anchor.grad is not None
    assert float(anchor.grad.abs()) > 0


def at(*degrees: float) -> Tensor:
    """Embeddings of length 1 on a circle."""
    angle = torch.tensor(degrees).deg2rad()
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def test_the_batch_gives_each_image_the_nearest_of_its_class_and_the_nearest_of_another_beyond_it(
    module: Module,
) -> None:
    positive, negative = module("losses.triplet").triplets(at(0, 10, 45, 90, 175), torch.tensor([0, 0, 0, 1, 1]))

    assert positive.tolist() == [1, 0, 1, 4, 3]
    assert negative.tolist() == [3, 3, 3, 0, 2]  # 2 is the nearest to 3, but nearer than 4


def test_an_image_without_a_better_triplet_still_has_one(module: Module) -> None:
    positive, negative = module("losses.triplet").triplets(at(0, 12, 20, 90), torch.tensor([0, 1, 2, 0]))

    assert positive.tolist() == [3, 1, 2, 0]  # 1 and 2 are alone in their classes
    assert negative.tolist() == [2, 2, 1, 1]  # all others are nearer to 0 than 3 is: the farthest of them


def test_a_batch_of_one_class_pushes_nothing_apart(module: Module, opt: Any) -> None:
    embedding = at(0, 40, 100, 190).requires_grad_()

    loss = module("losses.triplet").triplet(embedding, torch.zeros(4).long(), replace(opt, beta=0.0))
    loss.backward()

    assert embedding.grad is not None
    assert not embedding.grad.any()


def test_the_criterion_is_the_weighted_sum(module: Module, opt: Any, batch: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, embedding, labels = batch
    opt = replace(opt, losses={"cross_entropy": 1.0, "mse": 2.0, "triplet": 0.5, "hinge_embedding": 0.25})

    terms = module("losses").criterion((logits, embedding), labels, opt)

    torch.testing.assert_close(terms["loss"], sum(weight * terms[name] for name, weight in opt.losses.items()))


# THE WHOLE


def test_a_run_says_what_it_is_and_keeps_the_groups_apart(module: Module, opt: Any, process: Any, here: Path) -> None:
    opt = replace(opt, run_dir=str(here / "run"), milestones=(1, 3), lr=0.02)
    torch.set_num_threads(1)

    module("train").train(opt, process)

    log = "\n".join(lines(here / "run" / "1" / "train.log"))
    assert log.index("reference") < log.index("batch size 16, seed 2022") < log.index("1 x cpu")
    for name in ("backbone", "interaction", "large_conv1_1", "large_conv1_2", "classifier"):
        assert re.search(rf"^{name} +\d+ ", log, re.MULTILINE)
    rows = [json.loads(line) for line in lines(here / "run" / "1" / "metrics.jsonl")]
    steps = [row for row in rows if row["kind"] == "train"]
    assert [row["step"] for row in steps] == list(range(1, 13))
    for row in steps:
        assert {f"train/{name}" for name in ("loss", "cross_entropy", "mse", "triplet", "hinge_embedding")} <= {*row}
        assert row["lr/backbone"] == pytest.approx(0.1 * row["lr/classifier"])
    saved = json.loads((here / "run" / "1" / "options.json").read_text())
    assert saved["options"]["seed"] == 2022
    torch.use_deterministic_algorithms(False)


# THE DETECTOR


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Module]:
    """The modules of a project with the tutorial's network, its layer groups, its optimizer and its scheduler."""
    flags: dict[str, Any] = {"task": "detection", "model": "yolo_v1", "layer_groups": GROUPS}
    flags |= {"optimizer": "sgd", "scheduler": "step", "weights": "file"}
    flags |= {"weights_skip": ["interaction", "large_conv1_1", "large_conv1_2", "classifier"]}
    with importable(render_project(tmp_path_factory.mktemp("of") / "detector", **flags)) as modules:
        yield modules


def test_the_detector_has_the_five_layer_groups_of_the_tutorial(detector: Module) -> None:
    opt = detector("options").Options()
    net = detector("model").Yolo_v1(20, 2, 64)  # for images of one cell, so that it is quick

    optimizer = detector("optim").build_optimizer(detector("optim").optim_params(net, opt), opt)

    rates = {group["name"].split("/")[0]: group["lr"] / opt.lr for group in optimizer.param_groups}
    assert rates == {
        "backbone": pytest.approx(0.1),
        "interaction": 1.0,
        "large_conv1_1": 1.0,
        "large_conv1_2": 1.0,
        "classifier": 1.0,
    }
    assert all(group["momentum"] == 0.9 and group["nesterov"] for group in optimizer.param_groups)
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert {*map(id, held)} == {*map(id, net.parameters())}
    assert len(held) == len([*net.parameters()])


def test_the_backbone_of_the_detector_is_loaded_and_its_other_layers_are_not(detector: Module, tmp_path: Path) -> None:
    trained, net = (detector("model").Yolo_v1(classes, 2, 64) for classes in (20, 10))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    torch.save(trained.state_dict(), tmp_path / "weights.pt")
    opt = replace(detector("options").Options(), weights_file=str(tmp_path / "weights.pt"))

    with detector("engine").Process.start(opt) as process:
        report = detector("pretrained").load_weights(net, opt, process)

    assert report.startswith("weights: 40 of 52 tensors loaded; random: interaction.0.0.weight")
    for name, value in net.state_dict().items():
        expected = trained.state_dict() if name.startswith("backbone.") else before
        assert torch.equal(value, expected[name]), name
