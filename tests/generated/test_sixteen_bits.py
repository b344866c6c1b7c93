"""Training in 16 bits on a CPU, where fresh memory is never zero: what torch leaves unwritten must reach no weight."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.generated.rendered import render_project

PROJECTS = [("resnet18", "none"), ("resnet18", "fsdp"), ("cnn", "none"), ("vit", "none"), ("vit", "fsdp")]


@pytest.mark.parametrize(("model", "distributed"), PROJECTS)
def test_the_digits_are_learned_without_a_warning(model: str, distributed: str, tmp_path: Path) -> None:
    project = render_project(tmp_path / "small", model=model, distributed=distributed, precision="bf16", lr=0.001)
    # glibc fills memory that it gives out with 0x7f, which is a number near the largest one in 16 and in 32 bits
    environment = {**os.environ, "MALLOC_PERTURB_": str(0x80), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "small.train", "--epochs", "1"]
    done = subprocess.run(command, check=False, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "arning" not in done.stdout + done.stderr
    assert "epoch 1/1" in done.stderr


def test_a_resnet_in_16_bits_refuses_smaller_images(tmp_path: Path) -> None:
    project = render_project(tmp_path / "small", model="resnet18", precision="bf16")
    command = [sys.executable, "-m", "small.train", "--image-size", "16"]
    done = subprocess.run(command, check=False, cwd=project, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: --image-size must be at least 32 for a ResNet in bf16, and is 16\n"
    assert not (project / "run").exists()
