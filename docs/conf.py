"""How Sphinx makes the site from README.md, TEACHING.md and notebooks/: `make site`.

The folder of the sources is the repository itself, so every link between notebooks is a link between pages. The
notebooks are not run: the site shows what is stored in them.
"""

import os
import sys
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.errors import ExtensionError

sys.path.insert(0, str(Path(__file__).resolve().parent))
from contents import NOTEBOOKS, PAGES, TEXTS, prepare_notebook, table_of_contents

project = "PyTorch autograd on one toy problem"
html_title = project
author = "the authors of the series"
copyright = "the authors, MIT licence"
language = "en"
extensions = ["myst_nb", "sphinx_copybutton", "sphinx-mathjax-offline"]
copybutton_selector = "div.cell_input pre, div.highlight-python pre, div.highlight-sh pre"

root_doc = "README"
include_patterns = [f"{page}.md" for page in PAGES] + NOTEBOOKS + TEXTS
exclude_patterns = [".*", "_site", "docs", "tests", "tools", "figures", "**/.ipynb_checkpoints", "**/*-Copy*.ipynb"]

# --- Notebooks
nb_execution_mode = "off"
nb_render_markdown_format = "myst"
nb_code_prompt_show = "Show the {type}"
nb_code_prompt_hide = "Hide the {type}"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["misc.highlighting_failure"]  # cells that begin with % or !

# --- Looks
html_theme = "sphinx_book_theme"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_favicon = "static/favicon.svg"
html_context = {"default_mode": "auto"}  # light or dark, as the reader's machine is
html_copy_source = False
html_show_sourcelink = False
html_use_index = False
html_theme_options = {
    "navigation_with_keys": False,
    "navbar_persistent": [],  # a second search
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
# The repository's address is known where the site is published, and nowhere else.
REPOSITORY = os.environ.get("GITHUB_REPOSITORY", "")
if REPOSITORY:
    REPOSITORY = f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{REPOSITORY}"
    html_theme_options |= {
        "repository_url": REPOSITORY,
        "repository_branch": "HEAD",
        "path_to_docs": "",
        "use_repository_button": True,
        "launch_buttons": {
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
        },
    }


# --- Pages


def prepare_source(app, page, source):
    """Give README the sidebar's contents, and mend two links that lead to no page."""
    source[0] = source[0].replace("](notebooks/solutions)", "](notebooks/solutions/01_sample_a_mixture.md)")
    source[0] = source[0].replace("](tools/template.ipynb)", "](path:tools/template.ipynb)")  # a file, no page
    if app.env.doc2path(page).suffix == ".ipynb":
        try:
            source[0] = prepare_notebook(source[0])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ExtensionError(f"{page}.ipynb holds no notebook that can be read: {error}") from None
    if page == root_doc:
        try:
            contents = table_of_contents(source[0])
        except ValueError as error:
            raise ExtensionError(str(error)) from None
        for caption, entries in contents:
            listed = "\n".join(entries)
            source[0] += f"\n\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n"


def link_files(app, doctree):
    """Links to files that are no pages lead to the repository if its address is known, else to a copy in the site."""
    for link in [*doctree.findall(addnodes.download_reference)] if REPOSITORY else []:
        file, _ = app.env.relfn2path(link["reftarget"], app.env.docname)
        if not file.startswith("figures/"):
            link.replace_self(nodes.reference("", "", *link.children, refuri=f"{REPOSITORY}/blob/HEAD/{file}"))


def name_closed_cells(app, page, template, context, doctree):
    """A closed cell is called what it says, also by a screen reader."""
    for old, new in {
        '<summary aria-label="Toggle hidden content">': "<summary>",
        "Show the output<": "Show the answer<",
        "Hide the output<": "Hide the answer<",
        "Show the source<": "Show the code<",
        "Hide the source<": "Hide the code<",
    }.items():
        context["body"] = context.get("body", "").replace(old, new)


def setup(app):
    app.connect("source-read", prepare_source)
    app.connect("doctree-read", link_files, priority=400)  # before Sphinx collects what is to be copied
    app.connect("html-page-context", name_closed_cells)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "version": "1"}
