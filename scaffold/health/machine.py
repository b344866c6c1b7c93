"""Whether the Python, torch and devices of a machine fit what was chosen."""

import re
from pathlib import Path
from typing import Any

from scaffold.health.finding import Finding
from scaffold.questions.answer_types import DISTRIBUTED, PRECISION
from scaffold.questions.form import Answers


def of_machine(project: Path, found: dict[str, Any], answers: Answers) -> list[Finding]:
    """Whether the Python, torch and devices fit what was chosen."""
    if "failed" in found:
        return [Finding("machine", "problem", found["failed"], "name another   scaffold check --python PATH")]
    findings = [_at_least("Python", found["python"], _wanted(project, r'requires-python = ">=([\d.]+)"'))]
    if "torch" in found:
        findings.append(_at_least("torch", found["torch"], _wanted(project, r'"torch>=([\d.]+)')))
        devices = found["devices"]
        findings.append(
            Finding("machine", "ok", f"{len(devices)} GPUs: {', '.join(devices)}" if devices else "CPU only")
        )
    if "missing" in found:
        findings.append(Finding("machine", "problem", found["missing"], 'pip install -e ".[dev]"'))
    if "backends" in found:
        needed = "nccl" if found["devices"] else "gloo"
        good = needed in found["backends"]
        message = (
            f"{needed} is there for {DISTRIBUTED.of(answers)}"
            if good
            else (f"{DISTRIBUTED.of(answers)} was chosen, and this torch has no {needed}")
        )
        findings.append(
            Finding(
                "machine",
                "ok" if good else "problem",
                message,
                "" if good else "another build of torch   https://pytorch.org/get-started",
            )
        )
    if found.get("bf16") is False:
        findings.append(Finding("machine", "note", "this GPU has no bf16", f"scaffold change {PRECISION.flag} fp16"))
    return findings


def _wanted(project: Path, pattern: str) -> str:
    """The least version that pyproject.toml asks for."""
    path = project / "pyproject.toml"
    match = re.search(pattern, path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else None
    return match[1] if match else "0"


def _at_least(what: str, found: str, wanted: str) -> Finding:
    good = _numbers(found) >= _numbers(wanted)
    return Finding(
        "machine",
        "ok" if good else "problem",
        f"{what} {found}" + ("" if good else f", and the project needs {wanted}"),
        "" if good else 'pip install -e ".[dev]"' if what == "torch" else f"an environment with {what} {wanted}",
    )


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:2]]
