"""The floors of the package as a figure, drawn from the table that the layer test enforces.

python docs/_ext/floors.py floors.svg     (the documentation build calls `floors_svg` itself)
"""

import ast
import sys
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMES = {
    0: "errors, transitions",
    1: "tools that know no environment",
    2: "environments, runs, bridges, contracts",
    3: "agents and loops",
    4: "the run file",
    5: "one run",
    6: "looking at runs",
    7: "commands",
}
WIDTH, LEFT, PAD, ROW, CHARACTER = 900, 190, 10, 30, 7.3


def floors() -> dict[int, list[str]]:
    """The table ``FLOORS`` of tests/test_layers.py, read without importing it."""
    tree = ast.parse((ROOT / "tests" / "test_layers.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "FLOORS":
            assert node.value is not None
            table: dict[int, list[str]] = ast.literal_eval(node.value)
            return table
    raise LookupError("tests/test_layers.py has no FLOORS")


def _placed(entries: list[str]) -> list[tuple[str, float, int, float]]:
    """Entries with their place: ``(name, x, row, width)``; a new row where one is full."""
    x: float = LEFT
    row, found = 0, []
    for name in entries:
        width = len(name) * CHARACTER + 14
        if x + width > WIDTH - PAD:
            x, row = LEFT, row + 1
        found.append((name, x, row, width))
        x += width + 8
    return found


def floors_svg() -> str:
    """The figure: the highest floor on top, in each floor its files in order."""
    parts, y = [], PAD
    table = floors()
    for number in reversed(range(len(table))):
        placed = _placed(table[number])
        height = (placed[-1][2] + 1) * ROW + 10
        shade = "#eef3f8" if number % 2 else "#f8f5ee"
        parts.append(
            f'<rect x="{PAD}" y="{y}" width="{WIDTH - 2 * PAD}" height="{height}" rx="6"'
            f' fill="{shade}" stroke="#b9c4cf"/>'
            f'<text x="{PAD + 12}" y="{y + 25}" font-size="20" font-weight="bold">{number}</text>'
        )
        for line, text in enumerate(_wrapped(NAMES.get(number, ""))):
            parts.append(f'<text x="{PAD + 36}" y="{y + 20 + 15 * line}">{escape(text)}</text>')
        for name, x, row, width in placed:
            top = y + 7 + row * ROW
            parts.append(
                f'<rect x="{x:.0f}" y="{top}" width="{width:.0f}" height="23" rx="4"'
                ' fill="#ffffff" stroke="#8a97a5"/>'
                f'<text x="{x + 7:.0f}" y="{top + 16}" class="file">{escape(name)}</text>'
            )
        y += height + 8
    style = (
        "text{font:12px sans-serif;fill:#1c2733}.file{font:12px monospace}"
        "text[font-size]{font:bold 20px sans-serif}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 2}" role="img">'
        f"<title>The floors of gym_loop: imports run down, or to the left</title>"
        f"<style>{style}</style>"
        f'<rect width="{WIDTH}" height="{y + 2}" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def _wrapped(text: str, length: int = 22) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > length:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines[:2]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(floors_svg(), encoding="utf-8")
