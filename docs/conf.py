"""Configuration of the documentation; ``make docs`` builds it with warnings as errors."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

from gym_loop import __version__  # noqa: E402

project = "gym-loop"
copyright = "the gym-loop authors"
release = version = __version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated"]
exclude_patterns = ["_build", "examples"]
default_role = "py:obj"  # single backquotes in docstrings name Python objects
highlight_language = "none"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_custom_sections = ["Source"]
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"gym-loop {release}"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["tables.css"]
