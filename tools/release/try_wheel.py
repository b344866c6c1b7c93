"""Try a wheel as somebody who has nothing else: `python -m tools.release.try_wheel dist/*.whl`.

In a home that is empty, `scaffold new` makes a project in three ways: installed by pip, by uvx and by pipx run. Nothing of
PyTorch may come along, and the wheel may not grow beyond what one downloads without a thought.
"""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

MOST_BYTES = 1_500_000
# Of the surroundings, what says where packages come from, and nothing of Python's.
KEPT = ("PATH", "PIP_", "UV_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "SYSTEMROOT")


def try_wheel(wheel: Path, folder: Path) -> None:
    """Fails by an exception where one of the ways does not lead to a project."""
    size = wheel.stat().st_size
    assert size < MOST_BYTES, f"{wheel.name} has {size:,} bytes, more than {MOST_BYTES:,}"
    tools = Path(sys.executable).parent
    venv.create(folder / "environment", with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "environment")]
    subprocess.run([*pip, "install", "--quiet", str(wheel)], check=True)
    listed = subprocess.check_output([*pip, "list", "--format=freeze"], text=True)
    packages = {line.split("==")[0] for line in listed.splitlines()}
    assert "torch-scaffold" in packages, listed
    assert "torch" not in packages, listed
    ways = {
        "pip": [str(folder / "environment" / ("Scripts" if os.name == "nt" else "bin") / "torch-scaffold")],
        "uvx": [str(tools / "uvx"), "--from", str(wheel), "torch-scaffold"],
        "pipx": [str(tools / "pipx"), "run", "--spec", str(wheel), "torch-scaffold"],
    }
    for name, way in ways.items():
        home, place = folder / f"home of {name}", folder / f"place of {name}"
        home.mkdir()
        place.mkdir()
        variables = {key: value for key, value in os.environ.items() if key.upper().startswith(KEPT)} | {
            "HOME": str(home)
        }
        for words, expected in ((["--version"], wheel.name.split("-")[1]), (["new", "demo", "--yes"], "Created demo")):
            done = subprocess.run([*way, *words], cwd=place, env=variables, capture_output=True, text=True, check=False)
            said = done.stdout + done.stderr
            assert done.returncode == 0, said
            assert expected in said, said
        assert (place / "demo" / "demo" / "train.py").is_file()
        assert (home / ".local/share/torch-scaffold/template.bundle").is_file(), "its projects could not be updated"
        print(f"{name}: a project in an empty home")
    print(f"{wheel.name}: {size / 1000:.0f} KB, {len(packages)} packages, torch not among them")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        try_wheel(Path(sys.argv[1]).resolve(), Path(name))
