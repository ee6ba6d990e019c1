"""Settings of the documentation's builder."""

from __future__ import annotations

import importlib.metadata

project = "bets-protocol"
author = "The bets-protocol authors"
copyright = "2026, The bets-protocol authors"
release = version = importlib.metadata.version("bets-protocol")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.doctest", "sphinx.ext.napoleon", "sphinxcontrib.mermaid"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"bets-protocol {release}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# One entry for an attribute, in the text of its class.
napoleon_use_ivar = True
# The sections that this project adds to the usual ones.
napoleon_custom_sections = ["Thread", "Source"]

# Only examples marked as such are run.
doctest_test_doctest_blocks = ""
