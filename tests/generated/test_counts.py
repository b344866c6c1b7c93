"""A loss that is a mean over other things than items: parts of a batch and processes weigh as much as they have of them."""

from pathlib import Path

import pytest

from tests.reliability.crash.fixtures import Rendered
from tests.reliability.crash.projects import Change, Project, metrics

pytest_plugins = ["tests.reliability.crash.fixtures"]

# labels of one class are not looked at: the parts of a batch have 0 to 6 images that count
MEAN = "F.cross_entropy(logits.float(), labels, label_smoothing=opt.label_smoothing)"
SUM = "F.cross_entropy(logits.float(), labels, ignore_index=3, reduction='sum')"
IGNORED: tuple[Change, ...] = (
    ("PACKAGE/losses/cross_entropy.py", MEAN, f"{SUM} / (labels != 3).sum().clamp(min=1)"),
    ("PACKAGE/losses/__init__.py", ", **terms}", ', **terms, "count": (labels != 3).sum()}'),
)


def trained(project: Project, work: Path, accumulate: int, ranks: int = 1) -> list[float]:
    """The losses and the norms of the gradients of each step."""
    flags = ["--epochs", "1", "--log-every", "1", "--clip", "1", "--accumulate", str(accumulate)]
    ended = project.run(work, *flags, ranks=ranks)
    assert ended.code == 0, ended.said
    rows = metrics(work, "train")
    assert len(rows) == 3
    assert all("train/count" not in row for row in rows)
    return [row[name] for row in rows for name in ("train/loss", "train/cross_entropy", "train/grad_norm")]


@pytest.mark.parametrize("name", ["parts", "ddp_plain", "fsdp_plain"])
def test_unequal_parts_and_processes_learn_what_the_whole_batch_learns(
    project: Rendered, work: Path, name: str
) -> None:
    changed = project(name).changed(work / "code", IGNORED)
    ranks = 1 if name == "parts" else 2

    whole = trained(changed, work / "whole", 1)

    for accumulate in (1, 3):
        in_parts = trained(changed, work / str(accumulate), accumulate, ranks)
        assert in_parts == pytest.approx(whole, rel=1e-4)


def test_without_a_count_they_weigh_by_their_items_alone(project: Rendered, work: Path) -> None:
    changed = project("parts").changed(work / "code", IGNORED[:1])

    whole, in_parts = (trained(changed, work / str(number), number) for number in (1, 3))

    assert in_parts != pytest.approx(whole, rel=1e-3)
