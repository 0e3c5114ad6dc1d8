"""Sphinx configuration: `sphinx-build -W --keep-going -b html docs docs/_build/html`.

Nothing is fetched, neither when the pages are built nor when they are read: the theme ships its
fonts, and formulas become MathML here. The notebooks of ../notebooks are copied in and executed; an
error in one fails the build.
"""

import shutil
import sys
from pathlib import Path

import bayes_gmm

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))


def copy_notebooks() -> None:
    """Bring the notebooks into the source folder, which is all that Sphinx can see."""
    target = HERE / "notebooks"
    target.mkdir(exist_ok=True)
    sources = {path.name: path for path in (HERE.parent / "notebooks").iterdir() if path.is_file()}
    for copy in target.iterdir():
        if copy.is_file() and copy.name not in sources:
            copy.unlink()
    for name, source in sources.items():
        copy = target / name
        if not copy.exists() or copy.read_bytes() != source.read_bytes():
            shutil.copyfile(source, copy)


copy_notebooks()

project = "bayes_gmm"
author = "The bayes_gmm developers"
copyright = f"2026, {author}"
version = release = bayes_gmm.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_nb",
    "sphinx_design",
    "sphinx_copybutton",
    "docstrings",
    "mathml",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "notebooks/.ipynb_checkpoints"]
default_role = "py:obj"  # `fit` in a docstring links to fit, and stays plain code if there is none

autodoc_typehints = "none"  # the docstrings say it with shapes
add_module_names = False
autodoc_member_order = "bysource"
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_math_renderer = "mathml"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"  # a cache would keep what an older version of the package printed
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
nb_code_prompt_show = "Answer, in code"
nb_code_prompt_hide = "Hide the code"

html_theme = "pydata_sphinx_theme"
html_title = f"bayes_gmm {version}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_favicon = "_static/logo.svg"
html_show_sourcelink = False
html_sidebars = {
    page: []
    for page in (
        "index",
        "quickstart",
        "posterior",
        "recipes",
        "equations",
        "comparison",
        "arviz",
        "architecture",
        "references",
        "changelog",
    )
}
html_theme_options = {
    "logo": {
        "text": "bayes_gmm",
        "image_light": "_static/logo.svg",
        "image_dark": "_static/logo.svg",
    },
    "navbar_align": "left",
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "header_links_before_dropdown": 8,
    "show_nav_level": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
