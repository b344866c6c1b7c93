"""The data that ship with a project are unpacked whole or not at all, whatever the disk does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.generated.rendered import importable, render_project


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
def test_a_full_disk_leaves_no_half_a_folder(tmp_path: Path) -> None:
    project = render_project(tmp_path / "digits")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], check=True)
    try:
        with importable(project) as module:
            unpack = module("sample_data").unpack_digits
            with pytest.raises(OSError, match="No space left on device") as problem:
                unpack(disk / "digits")
            said = str(module("engine.errors").disk_error(problem.value))
            assert said.startswith(str(disk))
            assert said.endswith("cannot be used: No space left on device")
            assert [path.name for path in disk.iterdir()] == [".digits.lock"]
            subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
            unpack(disk / "digits")
        images = [*disk.rglob("*.png")]
        assert len(images) == 1797
        assert all(path.read_bytes().endswith(b"IEND\xaeB`\x82") for path in images)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_what_a_killed_unpacking_left_is_removed_and_two_at_once_do_it_once(tmp_path: Path) -> None:
    project = render_project(tmp_path / "digits")
    data = tmp_path / "data"
    for left in (".digits.tmp", ".digits.1234"):  # of this version and of those before
        (data / left / "train").mkdir(parents=True)
        (data / left / "train" / "0.png").touch()
    code = "from pathlib import Path; from digits.sample_data import unpack_digits; import sys; unpack_digits(Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(data / "digits")]

    both = [subprocess.Popen(command, cwd=project) for _ in range(2)]

    assert [one.wait() for one in both] == [0, 0]
    assert sorted(path.name for path in data.iterdir()) == [".digits.lock", "digits"]
    assert len([*data.rglob("*.png")]) == 1797
