"""The documentation site: ``make docs``, or ``sphinx-build -W docs site``."""

import autosubnet

project = "AutoSubnet"
author = copyright = "AutoSubnet developers"  # the name that Sphinx reads
release = autosubnet.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["attrs_inline", "dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["print.css"]
html_title = f"AutoSubnet {release}"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
