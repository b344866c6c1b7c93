"""The software bill of materials of a wheel, in CycloneDX: `python -m tools.release.sbom dist/*.whl sbom.cdx.json`.

It lists what pip installs with the wheel on the day of the release, by `cyclonedx-py` (the package cyclonedx-bom).
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def sbom(wheel: Path) -> dict[str, Any]:
    """Install the wheel in an environment of its own, and list what is there."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=False)
        subprocess.run(
            [sys.executable, "-m", "pip", "--quiet", "--python", folder, "install", "--no-compile", str(wheel)],
            check=True,
        )
        listing = [
            "environment",
            folder,
            "--pyproject",
            "pyproject.toml",
            "--output-reproducible",
            "--spec-version",
            "1.6",
        ]
        text = subprocess.check_output([sys.executable, "-m", "cyclonedx_py", *listing], cwd=ROOT)
    return with_project(json.loads(text), wheel)


def with_project(bill: dict[str, Any], wheel: Path) -> dict[str, Any]:
    """The bill with what pyproject.toml does not know of the project: its version, and the hash of the wheel."""
    version = wheel.name.split("-")[1]
    bill["metadata"]["component"] |= {
        "version": version,
        "purl": f"pkg:pypi/torch-scaffold@{version}",
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}],
    }
    return bill


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(sbom(Path(sys.argv[1])), indent=1) + "\n", encoding="utf-8")
