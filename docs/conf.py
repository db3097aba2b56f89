"""Sphinx: pages in MyST Markdown, reference pages generated from the code before every build."""

import sys
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(_FOLDER), str(_FOLDER.parent)]

from generate import write_pages  # noqa: E402 - found beside this file

write_pages(_FOLDER)

project = "nest-tune"
author = "the nest-tune authors"
project_copyright = "2026, the nest-tune authors"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "nest-tune"
highlight_language = "none"
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
napoleon_use_ivar = True
