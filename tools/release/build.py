"""Build the commit's sdist and wheel twice, and keep them only if both builds have equal bytes.

    python -m tools.release.build dist

The two builds differ in all that must not matter: folder, time zone, language, umask, hash seed. SOURCE_DATE_EPOCH is the time
of the commit. The tools are those installed (`pip install --require-hashes -r .github/tools/tools.txt`): nothing is downloaded.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SURROUNDINGS = (
    {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1"},
    {"TZ": "Pacific/Kiritimati", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2"},
)


def build(root: Path, folder: Path, surroundings: dict[str, str], umask: int) -> dict[str, bytes]:
    """The sdist of HEAD and the wheel made from it, built in a folder that is empty so far."""
    time = subprocess.check_output(["git", "log", "-1", "--format=%ct"], cwd=root, text=True).strip()
    archive = subprocess.check_output(["git", "archive", "HEAD"], cwd=root)
    source, out = folder / "source", folder / "out"
    source.mkdir(parents=True)
    subprocess.run(["tar", "--extract"], cwd=source, input=archive, check=True, umask=umask)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--quiet", "--outdir", str(out)],
        cwd=source,
        env={**os.environ, **surroundings, "SOURCE_DATE_EPOCH": time},
        umask=umask,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def main(root: Path, target: Path) -> int:
    """Build, compare, and write the files only if they are equal."""
    with tempfile.TemporaryDirectory() as name:
        one = build(root, Path(name) / "one", SURROUNDINGS[0], 0o022)
        two = build(root, Path(name) / "another place", SURROUNDINGS[1], 0o077)
    if one != two:
        different = sorted(name for name in {*one, *two} if one.get(name) != two.get(name))
        print(f"two builds of one commit differ: {', '.join(different)}", file=sys.stderr)
        return 1
    target.mkdir(parents=True, exist_ok=True)
    for name, content in one.items():
        (target / name).write_bytes(content)
        print(f"{hashlib.sha256(content).hexdigest()}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(ROOT, Path(sys.argv[1])))
