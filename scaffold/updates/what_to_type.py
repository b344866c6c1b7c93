"""Commands of git for the user to type. A repository may hold more than the project, and the rest of it is none of our
business."""

import re

from scaffold.system.shell import join


def only(prefix: str) -> str:
    return " -- " + join([f":(top,literal){prefix}"]) if prefix else ""


def commit_all(prefix: str, subject: str) -> str:
    quoted = f'"{subject}"' if re.fullmatch(r"[\w .,:=/+-]*", subject) else join([subject])
    return f"git add -A{only(prefix)} && git commit -m {quoted}{only(prefix)}"


def give_up(prefix: str) -> str:
    return f"git restore --source=HEAD --staged --worktree{only(prefix)}" if prefix else "git reset --hard"
