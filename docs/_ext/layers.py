"""The layers of the package as a figure, drawn from the table that the layer test enforces.

python docs/_ext/layers.py layers.svg     (the documentation build calls `layers_svg` itself)
"""

import ast
import sys
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WIDTH, PAD, ROW, CHARACTER = 900, 10, 34, 7.0


def layers() -> list[list[str]]:
    """The table ``LAYERS`` of tests/test_layers.py, read without importing it."""
    tree = ast.parse((ROOT / "tests" / "test_layers.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "LAYERS":
            assert node.value is not None
            table: list[list[str]] = ast.literal_eval(node.value)
            return table
    raise LookupError("tests/test_layers.py has no LAYERS")


def purpose(name: str) -> str:
    """The first line of a package's or module's docstring."""
    home = ROOT / "gym_loop" / name
    file = home / "__init__.py" if home.is_dir() else home.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].replace("``", "").replace("`", "")


def layers_svg() -> str:
    """The figure: the highest layer on top; a row for each package."""
    parts, y = [], PAD
    for number, names in enumerate(layers()):
        height = len(names) * ROW
        shade = "#eef3f8" if number % 2 else "#f8f5ee"
        parts.append(
            f'<rect x="{PAD}" y="{y}" width="{WIDTH - 2 * PAD}" height="{height}" rx="6"'
            f' fill="{shade}" stroke="#b9c4cf"/>'
        )
        for row, name in enumerate(names):
            line = y + row * ROW + 22
            parts.append(
                f'<text x="{PAD + 14}" y="{line}" class="name">{escape(name)}</text>'
                f'<text x="{PAD + 130}" y="{line}">{escape(purpose(name))}</text>'
            )
        y += height + 6
    style = "text{font:13px sans-serif;fill:#1c2733}.name{font:bold 13px monospace}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 4}" role="img">'
        f"<title>The layers of gym_loop: imports run down</title><style>{style}</style>"
        f'<rect width="{WIDTH}" height="{y + 4}" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(layers_svg(), encoding="utf-8")
