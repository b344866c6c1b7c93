"""A language model: its network, its text in every format, what it writes, and that it learns."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import yaml
from tokenizers import decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn

from tests.conftest import ROOT
from tests.generated.how_to import Page
from tests.generated.rendered import importable, own_tests, render_project

Modules = Callable[[str], ModuleType]
FACTS = {"tokenizer": "bytes", "vocabulary": 256, "block": 16}
SMALL = ["--width", "32", "--depth", "2", "--heads", "2", "--block", "16", "--batch-size", "16", "--num-workers", "0"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of default answers, but for several processes."""
    return render_project(tmp_path_factory.mktemp("lm") / "lm", task="language_model", distributed="ddp")


@pytest.fixture(scope="module")
def module(project: Path) -> Iterator[Modules]:
    with importable(project) as module:
        yield module


@pytest.fixture
def opt(module: Modules, tmp_path: Path) -> Any:
    return module("options").Options(
        width=32, depth=2, heads=2, block=16, batch_size=16, num_workers=0, token_cache=str(tmp_path / "cache")
    )


@pytest.fixture
def net(module: Modules, opt: Any) -> nn.Module:
    torch.manual_seed(0)
    net: nn.Module = module("model").build_model(opt, FACTS)
    return net.eval()


def refused(module: Modules, path: Path, opt: Any, split: str = "train") -> str:
    """What is said of a text that cannot be used."""
    with pytest.raises(module("engine").RunError) as error:
        module("data").MyDataset(path / split, opt)
    return str(error.value)


def text(folder: Path, count: int = 4000) -> Path:
    """A text of words that come again and again."""
    words = ["in", "the", "beginning", "god", "created", "heaven", "and", "earth"]
    noise = random.Random(0)
    folder.mkdir(exist_ok=True)
    (folder / "one.txt").write_text(" ".join(noise.choice(words) for _ in range(count)))
    return folder / "one.txt"


def run(project: Path, *words: str, processes: int = 1, **environment: str) -> subprocess.CompletedProcess[str]:
    """A module of the project in so many processes."""
    name, *flags = words
    command = [sys.executable, "-m"]
    if processes > 1:
        command += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
        flags = ["--", *flags]
    command += [f"{project.name}.{name}", *flags]
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **environment}
    return subprocess.run(command, cwd=project, env=settings, capture_output=True, text=True, check=False)


# the network


def test_no_token_sees_what_comes_after_it_and_each_sees_what_came_before(net: nn.Module) -> None:
    tokens = torch.randint(256, (1, 16))
    other = tokens.clone()
    other[0, 9] += 1

    before, after = net(tokens), net(other % 256)

    assert torch.equal(before[0, :9], after[0, :9])
    assert all(not torch.allclose(before[0, place], after[0, place], atol=1e-6) for place in range(9, 16))


def test_rotary_products_depend_on_the_distance_only(module: Modules) -> None:
    model = module("model")
    angles = model.rotary_angles(12, 8, torch.device("cpu"))
    query, key = torch.randn(8), torch.randn(8)

    turned = model.rotate(query.expand(1, 1, 12, 8), angles)[0, 0], model.rotate(key.expand(1, 1, 12, 8), angles)[0, 0]
    products = turned[0] @ turned[1].T

    for distance in range(-11, 12):
        same = products.diagonal(distance)
        assert torch.allclose(same, same[0].expand_as(same), atol=1e-5), distance
    assert products[0].std() > 0.01
    by_hand = torch.polar(torch.ones(4), 3 * 10_000.0 ** -(torch.arange(4) / 4)) * torch.complex(query[:4], query[4:])
    assert torch.allclose(turned[0][3], torch.cat([by_hand.real, by_hand.imag]), atol=1e-5)


def test_it_begins_as_gpt2_does_and_its_head_is_its_embedding(module: Modules, opt: Any) -> None:
    net = module("model").build_model(replace(opt, width=128, depth=8, heads=2), FACTS)

    assert net.head.weight is net.token.weight
    for block in net.blocks:
        assert float(block.qkv.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
        assert float(block.project.weight.detach().std()) == pytest.approx(0.02 / 4, rel=0.05)
        assert float(block.shrink.weight.detach().std()) == pytest.approx(0.02 / 4, rel=0.05)
    assert float(net.token.weight.detach().std()) == pytest.approx(0.02, rel=0.05)


def test_the_layers_of_the_catalogue_are_those_of_the_model(module: Modules) -> None:
    net = module("model").build_model(module("options").Options(), FACTS)
    known = yaml.safe_load((ROOT / "template/tasks/language_model/model/transformer.yml").read_text())

    def size(path: str) -> int:
        return sum(parameter.numel() for name, parameter in net.named_parameters() if f"{name}.".startswith(f"{path}."))

    assert {name: size(name) for name in known["layers"]} == known["layers"]
    assert {name: size(name) for name in known["blocks"]} == known["blocks"]
    assert sum(known["layers"].values()) == sum(parameter.numel() for parameter in net.parameters())
    assert {*known["groups"]["backbone"], *known["groups"]["head"]} == {"token", "norm", *known["blocks"]}


def test_norms_and_embeddings_have_no_weight_decay(module: Modules, opt: Any, net: nn.Module) -> None:
    groups = module("optim").optim_params(net, opt)

    names = {id(parameter): name for name, parameter in net.named_parameters()}
    free = {name for name in names.values() if "norm" in name} | {"token.weight"}
    decay = [(names[id(parameter)], group["weight_decay"] > 0) for group in groups for parameter in group["params"]]
    assert sorted(decay) == sorted((name, name not in free) for name in names.values())


def test_a_width_that_its_heads_do_not_divide_is_refused(module: Modules, opt: Any) -> None:
    with pytest.raises(module("engine").RunError, match="--width 32 must be divisible by twice --heads 3"):
        module("model").build_model(replace(opt, heads=3), FACTS)


# the text


@pytest.mark.parametrize("name", ["train.txt", "train/b.txt", "one.txt", "some/one.txt"])
def test_a_text_lies_where_one_likes(module: Modules, opt: Any, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(range(1, 251)) * 4)
    data_dir = path if name == "one.txt" else path.parent if name == "some/one.txt" else tmp_path

    train_set, val_set = (module("data").MyDataset(data_dir / split, opt) for split in ("train", "val"))

    assert bytes(train_set.tokens.tolist()) == (bytes(range(1, 251)) * 4)[:900]
    assert bytes(val_set.tokens.tolist()) == bytes(range(151, 251))
    assert "the last 0.1 of" in val_set.describe()
    assert "--held-out 0.1" in val_set.describe()
    (tmp_path / "val.txt").write_bytes(b"a whole text of its own")
    if name.startswith("train"):
        sets = [module("data").MyDataset(data_dir / split, opt) for split in ("train", "val")]
        assert [len(one.tokens) for one in sets] == [1000, 23]
        assert not [one for one in sets if "--held-out" in one.describe()]


@pytest.mark.parametrize("name", ["valid.txt", "validation/a.txt"])
def test_a_text_for_validation_may_be_called_otherwise(module: Modules, opt: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(bytes(23))
    (tmp_path / "train.txt").write_bytes(bytes(1000))

    found = {split: module("text").open_text(tmp_path / split, opt) for split in ("train", "val")}

    assert {split: len(tokens) for split, (tokens, _) in found.items()} == {"train": 1000, "val": 23}
    assert found["val"][1].startswith(str(tmp_path / name))


def test_bytes_need_not_be_text(module: Modules, opt: Any, tmp_path: Path) -> None:
    content = bytes(random.Random(0).choices(range(256), k=5000))
    (tmp_path / "one.txt").write_bytes(content)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "a.txt").write_bytes(content)  # two files go through the cache
    (tmp_path / "two" / "b.txt").write_bytes(b"\xff\r\n")

    one = replace(opt, held_out=0.0001)
    assert bytes(module("data").MyDataset(tmp_path / "one.txt" / "train", one).tokens.tolist()) == content[:5000]
    joined, _ = module("text").open_text(tmp_path / "two" / "train", replace(opt, held_out=1e-9))
    assert bytes(joined.tolist()) == content + b"\0\xff\r\n\0"


def test_lines_of_json_and_tokens_in_files(module: Modules, opt: Any, tmp_path: Path) -> None:
    def read(name: str, **changes: Any) -> list[int]:
        tokens, _ = module("text").open_text(tmp_path / name / "train", replace(opt, held_out=1e-9, **changes))
        found: list[int] = tokens.tolist()
        return found

    (tmp_path / "a.jsonl").write_text('{"body": "é"}\n\n{"id": 1, "body": "b"}\n"c"\n', encoding="utf-8")
    assert bytes(read("a.jsonl", text_key="body")) == "é\0b\0c\0".encode()
    np.arange(200, dtype=np.uint16).tofile(tmp_path / "b.bin")
    np.save(tmp_path / "c.npy", np.arange(70_000, 70_200))
    assert read("b.bin") == [*range(200)]
    assert read("c.npy", tokenizer="none") == [*range(70_000, 70_200)]
    facts = module("data").MyDataset(tmp_path / "c.npy" / "train", replace(opt, tokenizer="none")).facts
    assert facts == {"tokenizer": "none", "tokens": "none", "block": 16, "vocabulary": 70_180, "token_bytes": 8}
    told = refused(module, tmp_path / "c.npy", opt)
    assert "c.npy has a token 70199, and the vocabulary has 256; say with --tokenizer" in told
    np.save(tmp_path / "d.npy", np.append(np.zeros(2**20, np.int32), [300] * 40))
    data = module("data").MyDataset(tmp_path / "d.npy" / "train", replace(opt, held_out=1e-9))
    with pytest.raises(module("engine").RunError, match="a token 300, and the vocabulary has 256"):  # beyond the first
        data.batch(torch.tensor([2**20 // 16]))


def test_what_is_no_text_is_told(module: Modules, opt: Any, tmp_path: Path) -> None:
    def said(name: str, content: bytes, **changes: Any) -> str:
        (tmp_path / name).write_bytes(content)
        return refused(module, tmp_path / name, replace(opt, **changes))

    assert "is empty" in said("a.txt", b"")
    few = said("b.txt", b"x" * 16)
    assert "has 14 tokens, and a block of 16 needs 17; take a longer text, or a smaller --block" in few
    assert "line 2 of" in said("c.jsonl", b'"one"\n{"text": \n')
    assert "has no text under 'text': it has body; say with --text-key" in said("d.jsonl", b'{"body": "one"}\n')
    assert "has no text under 'text': it is 1" in said("e.jsonl", b"1\n")
    assert "has no text under 'text': it is null; say" in said("e.jsonl", b'{"text": null}\n')
    assert 'it is {"body": "one"}; say with --text-key' in said("e.jsonl", b'{"text": {"body": "one"}}\n')
    assert "there is no text in" in said("f.jsonl", b"\n\n")
    assert "does not hold whole numbers of 16 bits" in said("g.bin", b"123")
    assert "cannot be read as .npy" in said("h.npy", b"123")
    assert "is none of .txt, .jsonl, .bin, .npy; call it .txt" in said("i.md", b"x" * 100)
    assert "take --tokenizer bytes" in said("j.txt", b"x" * 100, tokenizer="none")
    np.save(tmp_path / "k.npy", np.zeros((4, 4)))
    assert "tokens are whole numbers of shape (n,)" in refused(module, tmp_path / "k.npy", opt)
    np.save(tmp_path / "l.npy", np.array([{}]))
    assert "cannot be read as .npy" in refused(module, tmp_path / "l.npy", opt)
    assert "say with --data-dir where it is" in refused(module, tmp_path / "nothing", opt)
    assert "say with --data-dir where it is" in refused(module, tmp_path, opt, "test")
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "a.txt").write_bytes(b"x" * 100)
    assert "there is no text" in refused(module, tmp_path, opt)  # a val without a train


def test_files_that_are_something_else_are_told(module: Modules, opt: Any, tmp_path: Path) -> None:
    def said(name: str, content: bytes, **changes: Any) -> str:
        (tmp_path / name).write_bytes(content)
        return refused(module, tmp_path / name, replace(opt, **changes))

    numbers = np.arange(2000) % 200
    wide = said("a.bin", numbers.astype(np.uint32).tobytes())
    assert "a.bin has a 0 beside each number, as if it had more than 16 bits" in wide
    assert "more than 16 bits" in said("b.bin", numbers.astype(np.int64).tobytes(), tokenizer="none")
    np.savez(tmp_path / "c.npz", numbers)
    assert "c.npy is a .npz of several arrays" in said("c.npy", (tmp_path / "c.npz").read_bytes())
    header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (%d,), }" % 10**21
    bomb = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    assert "d.npy cannot be read as .npy" in said("d.npy", bomb)
    nested = b"\x93NUMPY\x01\x00" + (9000).to_bytes(2, "little") + b"(" * 9000
    assert "e.npy cannot be read as .npy" in said("e.npy", nested)
    assert "f.npy cannot be read as .npy: it has no array of numbers" in said("f.npy", b"<html>" * 99)
    assert "line 1 of" in said("g.jsonl", b"[" * 100_000)
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 123\n"
    assert "h.txt is a pointer of Git LFS" in said("h.txt", pointer)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\xff\xfe" + "some text ".encode("utf-16-le") * 20, "UTF-16; save it as UTF-8"),
        ("some text ".encode("utf-16-le") * 20, "UTF-16 or UTF-32, with a 0 beside each letter"),
        ("some text ".encode("utf-16-be") * 20, "UTF-16 or UTF-32, with a 0 beside each letter"),
        ("some text ".encode("utf-32") * 20, "UTF-32; save it as UTF-8"),
        (gzip.compress(bytes(range(250)) * 4), "compressed by gzip; unpack it"),
        (b"PK\3\4" + bytes(range(250)), "a zip archive"),
        (b"%PDF-1.7" + bytes(range(250)), "a PDF; take the text out of it"),
    ],
)
@pytest.mark.parametrize("ending", [".txt", ".jsonl"])
def test_what_is_no_text_is_not_learned_as_bytes(
    module: Modules, opt: Any, tmp_path: Path, content: bytes, told: str, ending: str
) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.txt").write_bytes(b"good text " * 20)
    (tmp_path / "train" / f"b{ending}").write_bytes(content)

    assert f"b{ending} is {told}" in refused(module, tmp_path, opt)


def test_tokens_that_no_vocabulary_can_have_are_told(module: Modules, opt: Any, tmp_path: Path) -> None:
    opt = replace(opt, tokenizer="none")
    for number in (-100, 2**32 + 5):
        tokens = np.arange(200, dtype=np.int64)
        tokens[7] = number
        (tmp_path / f"{number}").mkdir()
        np.save(tmp_path / f"{number}" / "a.npy", tokens)
        assert f"a.npy has a token {number}; tokens are numbers from 0 on" in refused(
            module, tmp_path / f"{number}", opt
        )
        np.save(tmp_path / f"{number}" / "b.npy", np.arange(200))  # two files go through the cache, which has 32 bits
        assert f"a.npy has a token {number}; tokens are numbers from 0 on" in refused(
            module, tmp_path / f"{number}", opt
        )
    for kind, told in ((">u2", "the wrong way round"), (">u4", "a 0 beside each number"), ("f4", "a 0 beside each")):
        (np.arange(2000) % 200).astype(kind).tofile(tmp_path / "c.bin")
        assert told in refused(module, tmp_path / "c.bin", opt), kind


def test_files_named_as_parts_are_not_one_text(module: Modules, opt: Any, tmp_path: Path) -> None:
    (tmp_path / "wiki.train.txt").write_bytes(b"x" * 100)
    assert len(module("data").MyDataset(tmp_path / "train", opt).tokens) == 90
    (tmp_path / "wiki.test.txt").write_bytes(b"y" * 100)

    told = refused(module, tmp_path, opt)

    assert "wiki.train.txt and wiki.test.txt would be one text; call them train.txt and val.txt" in told


def test_of_many_files_some_may_be_empty_and_what_is_left_out_is_told(
    module: Modules, opt: Any, tmp_path: Path
) -> None:
    for name, content in (("a.txt", b"x" * 100), ("b.txt", b""), ("c.txt", b"z" * 100), ("d.txt.gz", b"...")):
        (tmp_path / "texts").mkdir(exist_ok=True)
        (tmp_path / "texts" / name).write_bytes(content)

    data = module("data").MyDataset(tmp_path / "texts" / "train", replace(opt, held_out=1e-9))

    assert bytes(data.tokens.tolist()) == b"x" * 100 + b"\0" + b"z" * 100 + b"\0"
    assert "(left out: 2 others, such as b.txt)" in data.describe()


def test_what_is_in_a_folder_is_read_or_told(module: Modules, opt: Any, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.TXT").write_bytes(b"x" * 100)
    (tmp_path / "train" / "b.txt").write_bytes(b"y" * 100)
    (tmp_path / "train" / "._b.txt").write_bytes(b"\0\5\x16\7" * 100)  # of macOS
    (tmp_path / "train" / "c.md").write_bytes(b"z" * 100)
    (tmp_path / "val.Txt").write_bytes(b"v" * 100)

    dataset = module("data").MyDataset(tmp_path / "train", opt)

    assert len(dataset.tokens) == 202  # each ends with a 0
    assert "(left out: 1 other, such as c.md)" in dataset.describe()
    assert module("text").open_text(tmp_path / "val", opt)[0].tolist() == [ord("v")] * 100
    (tmp_path / "train" / "d.txt").symlink_to("/nowhere")
    assert "d.txt is a link to nowhere" in refused(module, tmp_path, opt)


def test_json_with_a_bom_and_half_a_pair_of_surrogates_is_read(module: Modules, opt: Any, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "a\\ud83d b\\ud83d\\ude00 \xff"}\n')

    tokens, _ = module("text").open_text(tmp_path / "a.jsonl" / "train", replace(opt, held_out=1e-9))

    assert bytes(tokens.tolist()) == "a\ufffd b\U0001f600 ".encode() + b"\xff\0"


def test_a_token_of_val_that_the_vocabulary_lacks_is_met_before_an_epoch(
    module: Modules, opt: Any, tmp_path: Path
) -> None:
    (np.arange(2000) % 100).astype(np.uint16).tofile(tmp_path / "train.bin")
    (np.arange(2000) % 101).astype(np.uint16).tofile(tmp_path / "val.bin")
    opt = replace(opt, tokenizer="none")
    facts = module("data").MyDataset(tmp_path / "train", opt).facts

    with pytest.raises(module("engine").RunError, match=r"val\.bin has a token 100, and the vocabulary has 100"):
        module("data").MyDataset(tmp_path / "val", opt, facts).check(0, 1)


@pytest.mark.timed
def test_a_long_text_is_open_at_once(module: Modules, opt: Any, tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    with path.open("wb") as file:
        file.truncate(5 * 10**9)  # of holes, which take no room
    began = time.perf_counter()

    data = module("data").MyDataset(path / "train", replace(opt, block=1024))
    data.fingerprint()
    data.batch(torch.tensor([0, len(data) - 1]))

    assert len(data) == 4_394_532
    assert time.perf_counter() - began < 2


def test_a_text_that_changed_in_a_place_has_another_fingerprint(module: Modules, opt: Any, tmp_path: Path) -> None:
    path, prints = tmp_path / "a.txt", []
    for words in (b"god said", b"god says", b"god saw", b"dog said"):
        path.write_bytes(b"a" * 505_000 + words + b"z" * 495_000)
        prints.append(module("data").MyDataset(path / "train", opt).fingerprint())

    assert len({*prints}) == 4


SLOW = """
import os, sys, time
from pathlib import Path
from lm import text
from lm.options import Options
found = text.text_in
def slow(*words):
    time.sleep(0.001)
    return found(*words)
text.text_in = slow
print("begun", flush=True)
text.open_text(Path(sys.argv[1], "train"), Options(token_cache=sys.argv[2]))
"""


def test_a_cache_that_was_cut_is_made_again(module: Modules, opt: Any, project: Path, tmp_path: Path) -> None:
    """Killed while it is made, and shortened afterwards."""
    (tmp_path / "one.jsonl").write_text("".join(json.dumps(f"the text {number}") + "\n" for number in range(5000)))
    command = [sys.executable, "-c", SLOW, str(tmp_path / "one.jsonl"), opt.token_cache]
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    time.sleep(1)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    left = [path.name for path in Path(opt.token_cache).rglob("*")]
    assert [name for name in left if name.endswith(".tmp")]
    assert [name for name in left if name.startswith("one-")] == []

    expected = "".join(f"the text {number}\0" for number in range(5000)).encode()
    for _ in range(3):
        tokens, _ = module("text").open_text(tmp_path / "one.jsonl" / "train", replace(opt, held_out=1e-9))
        assert tokens.tobytes() == expected
        (made,) = Path(opt.token_cache).glob("one-*/tokens.bin")
        del tokens
        made.write_bytes(made.read_bytes()[:1000])
    assert [path for path in Path(opt.token_cache).rglob("*") if path.name.endswith(".tmp")] == []


def test_tokenised_once(module: Modules, opt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one.jsonl").write_text('"some text"\n' * 100)
    where = tmp_path / "one.jsonl" / "train"
    module("text").open_text(where, opt)
    monkeypatch.setattr(module("text"), "pieces", None)

    module("text").open_text(where, opt)
    module("text").open_text(where.with_name("val"), opt)
    with pytest.raises(TypeError):
        module("text").open_text(where, replace(opt, text_key="body"))


# tokenizers


class Encoding:
    """As tiktoken's: whole words, and bytes for what else there is."""

    words = ("beginning", "the ", "In ")
    n_vocab, eot_token = 260, 259

    def token_byte_values(self) -> list[bytes]:
        return [bytes([number]) for number in range(256)] + [word.encode() for word in self.words]

    def encode_single_token(self, text: bytes) -> int:
        return self.token_byte_values().index(text)

    def encode_ordinary(self, text: str) -> list[int]:
        found, rest = [], text.encode()
        while rest:
            token = max((token for token in self.token_byte_values() if rest.startswith(token)), key=len)
            found.append(self.encode_single_token(token))
            rest = rest[len(token) :]
        return found

    def decode(self, tokens: list[int]) -> str:
        return b"".join(self.token_byte_values()[token] for token in tokens).decode("utf-8", "replace")


@pytest.fixture
def tiktoken(module: Modules, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A stand-in for the package, which would download its tokenizers."""
    stand_in = ModuleType("tiktoken")
    stand_in.list_encoding_names = lambda: ["gpt2", "gone"]  # type: ignore[attr-defined]
    stand_in.get_encoding = {"gpt2": Encoding()}.__getitem__  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tiktoken", stand_in)
    module("tokenizer").load_tokenizer.cache_clear()
    yield stand_in
    module("tokenizer").load_tokenizer.cache_clear()


def test_bits_per_byte_do_not_depend_on_the_tokenizer(
    module: Modules, opt: Any, tmp_path: Path, tiktoken: ModuleType
) -> None:
    """A model that knows nothing needs as many bits for a text as its tokens have, whatever they are."""
    content = "In the beginning " * 40
    (tmp_path / "one.txt").write_text(content)
    for tokenizer, vocabulary, in_a_turn in (("bytes", 256, 17), ("gpt2", 260, 4)):
        data = module("data").MyDataset(tmp_path / "one.txt" / "train", replace(opt, tokenizer=tokenizer))
        inputs, following = data.batch(torch.arange(len(data)))
        with module("engine").Process.start(opt) as process:
            metrics = module("metrics").Metrics(process, data.facts)
            metrics.update(torch.zeros(*inputs.shape, vocabulary), following, torch.arange(len(data)))
            found = metrics.compute()

        told = data.tokens[1:].tolist()
        lengths = [1] * 256 + [len(word) for word in Encoding.words]
        assert found["perplexity"] == pytest.approx(vocabulary)
        bits = len(told) * np.log2(vocabulary) / sum(lengths[token] for token in told)
        assert found["bits_per_byte"] == pytest.approx(bits)
        assert len(data.tokens) == pytest.approx(0.9 * 40 * in_a_turn, abs=2)


def test_a_tokenizer_that_is_not_there_is_told(
    module: Modules, opt: Any, tmp_path: Path, tiktoken: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = text(tmp_path)

    def said(tokenizer: str) -> str:
        return refused(module, where, replace(opt, tokenizer=tokenizer))

    assert "there is no tokenizer gpt9; take bytes, none, a file" in said("gpt9")
    assert "tiktoken could not download gone" in said("gone")
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    module("tokenizer").load_tokenizer.cache_clear()
    assert "pip install tiktoken" in said("gpt2")
    assert "pip install tokenizers" in said("a.json")


@pytest.mark.parametrize("kind", ["ByteLevel", "Metaspace"])
def test_a_tokenizer_in_a_file(module: Modules, opt: Any, tmp_path: Path, kind: str) -> None:
    content = text(tmp_path).read_text() + " é\n"
    made = tokenizers.Tokenizer(models.BPE(byte_fallback=kind == "Metaspace"))
    made.pre_tokenizer = getattr(pre_tokenizers, kind)()
    made.decoder = getattr(decoders, kind)()
    made.train_from_iterator([content], trainers.BpeTrainer(vocab_size=300, special_tokens=["</s>"]))
    made.save(str(tmp_path / "tokenizer.json"))
    module("tokenizer").load_tokenizer.cache_clear()
    found = module("tokenizer").load_tokenizer(str(tmp_path / "tokenizer.json"))

    words = "the beginning and earth"
    tokens = found.encode(words).tolist()
    assert found.decode(tokens).strip() == words
    assert found.end == found.start == 0
    assert found.num_bytes({})[0] == 0
    lengths = found.num_bytes({})
    assert sum(lengths[token] for token in tokens) == len(words) + 1  # both begin with a space
    facts = module("data").text_facts(found.encode(words), replace(opt, tokenizer=str(tmp_path / "tokenizer.json")))
    assert module("tokenizer").tokenizer_of(facts).identity == found.identity
    made.pre_tokenizer = pre_tokenizers.Whitespace()  # as in the tour of the package: it drops the spaces
    made.save(str(tmp_path / "lossy.json"))
    notes = {
        name: module("text").open_text(tmp_path / "one.txt" / "train", replace(opt, tokenizer=str(tmp_path / name)))[1]
        for name in ("tokenizer.json", "lossy.json")
    }
    assert "loses spaces or characters" not in notes["tokenizer.json"]
    assert "loses spaces or characters" in notes["lossy.json"]
    other = str(tmp_path / "one.txt")
    assert "is no tokenizer.json" in refused(module, tmp_path / "one.txt", replace(opt, tokenizer=other))
    made.train_from_iterator(["another text"], trainers.BpeTrainer(vocab_size=300, special_tokens=["</s>"]))
    made.save(str(tmp_path / "tokenizer.json"))
    module("tokenizer").load_tokenizer.cache_clear()
    with pytest.raises(module("engine").RunError, match="is not the file that the run began with"):
        module("tokenizer").tokenizer_of(facts)


@pytest.mark.parametrize("kind", ["WordPiece", "end of word", "WordLevel"])
def test_the_bytes_of_tokens_are_those_of_the_text(module: Modules, project: Path, tmp_path: Path, kind: str) -> None:
    content = text(tmp_path).read_text()
    special = ["[UNK]", "</s>"]
    model, trainer = {
        "WordPiece": (
            models.WordPiece(unk_token="[UNK]"),
            trainers.WordPieceTrainer(vocab_size=60, special_tokens=special),
        ),
        "WordLevel": (models.WordLevel(unk_token="[UNK]"), trainers.WordLevelTrainer(special_tokens=special)),
        "end of word": (
            models.BPE(end_of_word_suffix="</w>"),
            trainers.BpeTrainer(vocab_size=60, special_tokens=special, end_of_word_suffix="</w>"),
        ),
    }[kind]
    made = tokenizers.Tokenizer(model)
    made.decoder = decoders.WordPiece()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator([content], trainer)
    made.enable_padding(length=99)
    made.enable_truncation(7)
    made.save(str(tmp_path / "tokenizer.json"))
    module("tokenizer").load_tokenizer.cache_clear()
    found = module("tokenizer").load_tokenizer(str(tmp_path / "tokenizer.json"))

    words = "the beginning and the earth and the beginning and the heaven"
    tokens, lengths = found.encode(words).tolist(), found.num_bytes({})

    assert len(tokens) > 7
    assert lengths[0] == lengths[1] == 0
    assert sum(lengths[token] for token in tokens) == len(words) + 1
    if kind != "WordPiece":
        return
    flags = ["--data-dir", str(tmp_path / "one.txt"), "--tokenizer", str(tmp_path / "tokenizer.json")]
    trained = run(project, "train", *flags, *SMALL, "--run-dir", str(tmp_path / "run"), "--epochs", "3")
    assert trained.returncode == 0, trained.stderr
    told = run(
        project, "predict", str(tmp_path / "run" / "1"), "--prompt", "and the", "--temperature", "0"
    ).stdout.split()
    assert len(told) > 20
    assert {*told[:-1]} <= {*content.split()}


@pytest.mark.nightly
def test_the_page_on_a_tokenizer_of_ones_own_does_what_it_says(project: Path, tmp_path: Path) -> None:
    page = Page("own-tokenizer")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(project)}

    def run(*words: str) -> str:
        words = tuple(word.replace("digits", "lm") for word in words)
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    plan, train, predict = page.commands("python -m")
    (code,) = page.blocks("python")
    run(sys.executable, *plan[1:])
    run(sys.executable, "-c", code)
    (tmp_path / "few.txt").write_text((tmp_path / "data/verses/train.txt").read_text()[:20_000])
    said = run(sys.executable, *train[1:], *SMALL, "--data-dir", "few.txt", "--epochs", "1", "--sample", "5")

    assert "loses spaces" not in said
    assert "And the earth was" in run(sys.executable, *predict[1:], "--length", "3")


# what it writes


def test_what_is_written_repeats_with_a_seed_and_sees_its_last_block(module: Modules, net: nn.Module) -> None:
    def written(prompt: str = "in the", count: int = 40, **how: Any) -> list[int]:
        with torch.no_grad():
            found: list[int] = module("generate").generate(net, list(prompt.encode()), count, FACTS, **how)
        return found

    assert written(seed=1) == written(seed=1) != written(seed=2)
    assert written(temperature=0) == written(temperature=0, seed=2) == written(top_k=1)
    assert written(prompt="x" * 30, seed=1) == written(prompt="y" * 14 + "x" * 16, seed=1)
    assert len(written(top_k=300)) == 40


def test_each_token_is_drawn_as_the_model_predicts(module: Modules) -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, tokens: Tensor) -> Tensor:
            logits = torch.full((*tokens.shape, 256), -torch.inf)
            logits[..., [1, 2, 3]] = torch.tensor([0.5, 0.3, 0.2]).log()
            logits[:, 5:] = torch.nan  # beyond the prompt: these must not be looked at
            return logits

    def counts(**how: Any) -> list[float]:
        drawn = [module("generate").generate(Fixed(), [7] * 5, 1, FACTS, seed=seed, **how)[0] for seed in range(2000)]
        return [drawn.count(token) / len(drawn) for token in (1, 2, 3)]

    assert counts() == pytest.approx([0.5, 0.3, 0.2], abs=0.04)
    assert counts(top_k=2) == pytest.approx([0.625, 0.375, 0], abs=0.04)
    assert counts(temperature=0.5) == pytest.approx([0.658, 0.237, 0.105], abs=0.04)
    assert counts(temperature=1e-45)[0] == 1
    ends = module("generate").generate(Fixed(), [7] * 5, 9, {**FACTS, "tokenizer": "bytes"}, temperature=0)
    assert ends[0] == 1


# whole runs


@pytest.fixture(scope="module")
def trained(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the project on a text in one file."""
    folder = tmp_path_factory.mktemp("trained")
    flags = ["--data-dir", str(text(folder)), "--run-dir", str(folder / "run"), *SMALL]
    done = run(project, "train", *flags, "--epochs", "3", "--sample", "40", "--eval-steps", "40")
    assert done.returncode == 0, done.stderr
    return folder / "run" / "1"


def test_it_learns_says_what_is_held_out_and_writes_into_the_log(trained: Path) -> None:
    log = (trained / "train.log").read_text()
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    bits = [row["val/bits_per_byte"] for row in rows if row["kind"] == "val"]

    assert "the last 0.1 of" in log
    assert "(--held-out 0.1)" in log
    assert len(bits) > 3
    assert bits[0] > 1.2 * bits[-1]
    assert bits[-1] < 1.5  # eight words: 3 bits for 5 letters
    assert log.count("a sample:\n") == len(bits)


def test_predict_goes_on_from_a_prompt_and_from_a_file(project: Path, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "some.txt").write_text("in the begin\n")
    flags = ["--length", "30", "--top-k", "5"]
    one = run(project, "predict", str(trained), "--prompt", "in the begin", *flags)
    again = run(project, "predict", str(trained), str(tmp_path / "some.txt"), *flags)
    other = run(project, "predict", str(trained), "--prompt", "in the begin", *flags, "--seed", "3")

    assert one.stdout.startswith("in the begin")
    assert len(one.stdout) == len("in the begin") + 30 + 1
    assert again.stdout == f"{tmp_path / 'some.txt'}:\n{one.stdout}"
    assert other.stdout != one.stdout
    missing = run(project, "predict", str(trained), str(tmp_path / "none.txt"), str(tmp_path / "some.txt"), *flags)
    assert missing.returncode == 5
    assert "none.txt cannot be read" in missing.stderr
    assert missing.stdout == again.stdout
    cold = run(project, "predict", str(trained), "--temperature", "-1")
    assert cold.returncode == 2
    assert "--temperature must be at least 0" in cold.stderr


def test_two_processes_train_as_one_does(project: Path, tmp_path: Path) -> None:
    flags = ["--data-dir", str(text(tmp_path)), *SMALL, "--epochs", "1", "--log-every", "5", "--sample", "10"]
    ends = []
    for processes in (1, 2):
        folder = tmp_path / f"run{processes}"
        done = run(project, "train", *flags, "--run-dir", str(folder), processes=processes)
        assert done.returncode == 0, done.stderr
        ends.append([json.loads(line) for line in (folder / "1" / "metrics.jsonl").read_text().splitlines()])

    for one, two in zip(*ends, strict=True):
        assert one.pop("kind") == two.pop("kind")
        assert two == pytest.approx(one, rel=1e-4)


def test_killed_and_started_again_it_ends_with_the_same_bits(project: Path) -> None:
    own_tests(project, "tests/test_resume.py")


@pytest.mark.nightly
def test_its_own_tests_pass(project: Path) -> None:
    own_tests(project)


@pytest.mark.nightly
def test_of_default_answers_it_has_less_than_two_bits_per_byte_after_a_thousand_steps(tmp_path: Path) -> None:
    project = render_project(tmp_path / "verses", task="language_model")

    done = run(project, "train", OMP_NUM_THREADS=str(os.cpu_count() or 1))

    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (project / "run" / "1" / "metrics.jsonl").read_text().splitlines()]
    assert 1000 < rows[-1]["step"] < 1200
    assert rows[-1]["val/bits_per_byte"] < 2
