"""Draw the picture of the README: `scaffold new` as it looks in a real terminal, from the first question to the end.

    python tools/draw_session.py              writes docs/session.svg
    python tools/draw_session.py FILE.svg     writes it elsewhere

A program types into a pseudo-terminal; the picture shows what stood on the screen at each stop, one after the other.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path

import pexpect
import pyte

COLUMNS, ROWS = 88, 29
UP, DOWN, TAB, ENTER, CLEAR = "\x1b[A", "\x1b[B", "\t", "\r", "\x15"


@dataclass(frozen=True)
class Stop:
    """Type these keys, wait until this can be read, and show the screen for so many seconds (0: do not show it)."""

    keys: str
    see: str
    seconds: float


GROUPS = "stem=0.01 layer4=0.3 backbone=0.1 head=1"
# What one sees of it where pictures do not move.
POSTER = "75.1 %"
STOPS = [
    Stop("", "How do you want to start?", 2.5),
    Stop(UP, "❯ Ask me everything", 1.0),
    Stop(ENTER, "Name of the project", 0.5),
    Stop(CLEAR + "flowers", "flowers", 1.0),
    Stop(ENTER, "What should the model learn?", 1.5),
    Stop(ENTER, "What are the data?", 0.7),
    Stop(ENTER, "Which losses?", 0.7),
    Stop(DOWN + DOWN + " ", "❯ ● triplet", 1.3),
    Stop(ENTER, "With which weights?", 0.5),
    Stop(CLEAR + "cross_entropy=1 triplet=0.5", "triplet=0.5", 1.3),
    Stop(ENTER, "Which model?", 0.5),
    Stop(DOWN, "❯ resnet18", 1.3),
    Stop(ENTER, "Which weights does", 0.0),
    Stop(DOWN, "❯ imagenet", 1.3),
    Stop(ENTER, "How fast should the layers learn?", 2.0),
    Stop(UP, "❯ own", 1.0),
    Stop(ENTER, "100.0 %", 1.0),
    Stop(CLEAR + "stm=0.01", "did you mean", 2.5),
    Stop(CLEAR + "stem=0.01 lay" + TAB, "layer2.0", 1.5),
    Stop(CLEAR + GROUPS, POSTER, 4.0),
    Stop(ENTER, "Which optimizer?", 0.7),
    Stop(ENTER, "Learning rate (", 0.3),
    Stop(ENTER, "How does the learning rate change", 1.5),
    Stop(ENTER, "Epochs of linear warm-up", 0.3),
    Stop(ENTER, "Largest norm", 0.3),
    Stop(ENTER, "In how many parts", 0.3),
    Stop(ENTER, "Keep a moving average", 0.3),
    Stop(ENTER, "On how many devices?", 0.0),
    Stop(DOWN, "❯ ddp", 1.0),
    Stop(ENTER, "Which precision?", 0.0),
    Stop(DOWN, "❯ bf16", 0.5),
    Stop(ENTER, "Where should the curves go", 0.3),
    Stop(ENTER, "Continuous integration?", 0.3),
    Stop(ENTER, "Licence of the project?", 0.3),
    Stop(ENTER, "Create the project?", 3.0),
    Stop(ENTER, "Same again", 6.0),
]


class Screen(pyte.Screen):
    """A screen that answers the terminal's questions to the program in it."""

    def __init__(self, child: "pexpect.spawn[bytes]") -> None:
        super().__init__(COLUMNS, ROWS)
        self.child = child

    def write_process_input(self, data: str) -> None:
        """What a terminal would send back."""
        self.child.send(data)


# A run of characters of one look: where it begins, what it says, its colour, whether it is bold.
Run = tuple[int, str, str, bool]


@dataclass(frozen=True)
class Frame:
    """What stood on the screen at a stop, row by row, and where the cursor was (or nowhere)."""

    stop: Stop
    rows: list[list[Run]]
    cursor: tuple[int, int] | None


def frames() -> Iterator[Frame]:
    """Hold the conversation and look at each stop."""
    others = ("CI", "NO_COLOR", "LC_ALL", "COLUMNS", "LINES")  # of a reader's terminal, and not of this one
    inherited = {name: value for name, value in os.environ.items() if name not in others}
    told = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "SCAFFOLD_TEMPLATE_URL": "https://example.org/template.git"}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "gitconfig")
        config.write_text("[user]\nname = Ada\nemail = ada@example.org\n")
        here = Path(folder, "here")
        here.mkdir()
        child: pexpect.spawn[bytes] = pexpect.spawn(
            sys.executable,
            ["-m", "scaffold", "new"],
            cwd=str(here),
            dimensions=(ROWS, COLUMNS),
            env={**inherited, **told, "GIT_CONFIG_GLOBAL": str(config)},
            timeout=30,
        )
        screen = Screen(child)
        stream = pyte.ByteStream(screen)
        stream.feed(b"\x1b[1;32m$\x1b[0m scaffold new\r\n")
        for stop in STOPS:
            child.send(stop.keys)
            _read(child, stream, screen, stop.see)
            if stop.seconds:
                yield _look(screen, stop)
        child.close(force=True)


def _read(child: "pexpect.spawn[bytes]", stream: pyte.ByteStream, screen: Screen, wanted: str) -> None:
    """Read until the text is there, and until nothing more comes."""
    quiet, waited = 0, 0
    while quiet < 4 or not any(wanted in line for line in screen.display):
        try:
            stream.feed(child.read_nonblocking(65536, timeout=0.1))
            quiet = 0
        except pexpect.TIMEOUT:
            quiet += 1
        except pexpect.EOF:
            quiet = 4
        waited += 1
        if waited > 300:
            raise SystemExit(f"waited in vain for {wanted!r}:\n" + "\n".join(screen.display))


def _look(screen: Screen, stop: Stop) -> Frame:
    """The screen as it is."""
    rows = []
    for y in range(ROWS):
        cells = [screen.buffer[y][x] for x in range(COLUMNS)]
        runs: list[Run] = []
        for look, group in groupby(
            enumerate(cells), key=lambda cell: (cell[1].fg, cell[1].bold, cell[1].data.isascii())
        ):
            found = list(group)
            text = "".join(cell.data for _, cell in found)
            if text.strip():
                begin = found[0][0] + len(text) - len(text.lstrip())
                runs.append((begin, text.strip(), str(look[0]), bool(look[1])))
        rows.append(runs)
    cursor = None if screen.cursor.hidden or stop is STOPS[-1] else (screen.cursor.x, screen.cursor.y)
    return Frame(stop, rows, cursor)


# DRAWING

WIDTH, HEIGHT, MARGIN, TOP = 8.4, 19, 18, 44
COLOURS = {"cyan": "#39c5cf", "green": "#56d364", "red": "#ff7b72", "brown": "#e3b341", "brightblack": "#8b949e"}
STYLE = """
text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #e6edf3; }
.bold { font-weight: 700; }
.frame { visibility: hidden; }
.poster { visibility: visible; }
"""


def draw(pictures: list[Frame]) -> str:
    """The frames as one picture that moves; where pictures stand still, the one with the table of layer groups."""
    total = sum(frame.stop.seconds for frame in pictures)
    style, groups, begin = STYLE, [], 0.0
    for number, frame in enumerate(pictures):
        end = begin + frame.stop.seconds
        style += (
            f"@keyframes f{number} {{ 0% {{ visibility: {'visible' if begin == 0 else 'hidden'} }} "
            f"{100 * begin / total:.2f}% {{ visibility: visible }} {100 * end / total:.2f}% {{ visibility: hidden }} "
            "100% { visibility: hidden } }\n"
            f"#f{number} {{ animation: f{number} {total:g}s step-end infinite; }}\n"
        )
        groups.append(_draw_frame(frame, number))
        begin = end
    style += "@media (prefers-reduced-motion: reduce) { .frame { animation: none !important; } }\n"
    width, height = COLUMNS * WIDTH + 2 * MARGIN, ROWS * HEIGHT + TOP + MARGIN
    dots = "".join(
        f'<circle cx="{MARGIN + 6 + 20 * number}" cy="20" r="6" fill="{colour}"/>'
        for number, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" aria-label="The conversation of scaffold new">\n<style>{style}</style>\n'
        f'<rect width="100%" height="100%" rx="10" fill="#0d1117"/>\n{dots}\n' + "\n".join(groups) + "\n</svg>\n"
    )


def _draw_frame(frame: Frame, number: int) -> str:
    lines = []
    for y, runs in enumerate(frame.rows):
        for x, text, colour, bold in runs:
            fill = f' style="fill:{COLOURS[colour]}"' if colour in COLOURS else ""
            weight = ' class="bold"' if bold else ""
            lines.append(
                f'<text x="{MARGIN + x * WIDTH:.1f}" y="{TOP + y * HEIGHT + 14}" textLength="{len(text) * WIDTH:.1f}" '
                f'xml:space="preserve"{weight}{fill}>{escape(text)}</text>'
            )
    if frame.cursor:
        x, y = frame.cursor
        lines.append(
            f'<rect x="{MARGIN + x * WIDTH:.1f}" y="{TOP + y * HEIGHT}" width="{WIDTH}" height="17" fill="#e6edf3" '
            'opacity="0.6"/>'
        )
    poster = " poster" if frame.stop.see == POSTER else ""
    return f'<g class="frame{poster}" id="f{number}">\n' + "\n".join(lines) + "\n</g>"


def main() -> None:
    """Write the picture."""
    root = Path(__file__).resolve().parents[1]
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else root / "docs" / "session.svg"
    target.write_text(draw(list(frames())), encoding="utf-8")


if __name__ == "__main__":
    main()
