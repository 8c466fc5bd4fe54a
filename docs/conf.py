"""The documentation as a site; `make docs` builds it."""

from typing import Any

import napari_mlbseg
from napari_mlbseg import api

project = "napari-mlbseg"
author = copyright = "napari-mlbseg developers"
release = version = napari_mlbseg.__version__
home = "https://github.com/napari-mlbseg/napari-mlbseg"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

# Every link within the site leads somewhere; what other projects document is not looked up.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!napari_mlbseg\b).*"),
    (r"py:.*", r"napari_mlbseg\.(?!api\b).*"),
]
default_role = "py:obj"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autosummary_generate = False
napoleon_google_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True

html_theme = "pydata_sphinx_theme"
html_title = project
html_show_sourcelink = False
html_theme_options = {
    "github_url": home,
    "show_nav_level": 2,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars: dict[str, list[str]] = {"**": []}

linkcheck_ignore = [home]  # before the repository is public
linkcheck_timeout = 30


def at_the_door(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """A link to where something lives leads to where scripts find it, if they do."""
    name = node.get("reftarget", "").rpartition(".")[2]
    if name not in api.__all__:
        return None
    return env.domains["py"].resolve_xref(
        env, node["refdoc"], app.builder, "obj", f"napari_mlbseg.api.{name}", node, contnode
    )


def without_arguments(app: Any, what: str, name: str, *rest: Any) -> tuple[str, None] | None:
    """Studies are opened and made, never called for."""
    return ("", None) if name == "napari_mlbseg.api.Study" else None


def setup(app: Any) -> None:
    """Connect what this file adds."""
    app.connect("autodoc-process-signature", without_arguments)
    app.connect("missing-reference", at_the_door)
