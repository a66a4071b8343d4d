"""How the pages become a site: ``sphinx-build -W -n docs build/site``."""

from __future__ import annotations

import re
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.transforms.post_transforms import SphinxPostTransform

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "dask-sail"
author = copyright = "the dask-sail developers"
version = release = version_of("dask-sail")

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc", "sphinx_copybutton"]
myst_heading_anchors = 4  # those that GitHub makes too, so that a link works in both places
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_selector = "div:not(.highlight-text) > div.highlight pre"  # code, not what it prints

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 150
toc_object_entries_show_parents = "hide"
autodoc_mock_imports = ["pyspark"]  # the site is the same where that is not installed
numpydoc_show_class_members = False  # autodoc lists them
default_role = "py:obj"

nitpick_ignore_regex = [
    # Types in signatures: those of other packages, and our private ones, have no place here. What
    # docstrings name is `py:obj`, and has one.
    (r"py:class", r".*"),
    # The build asks no network for the pages of others.
    (r"py:obj", r"(pyarrow|pandas|dask|datafusion|connectorx|adbc_driver_manager)\..*"),
]

html_theme = "furo"
html_title = f"dask-sail {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False

_SECTION = re.compile(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def make_navigation(app: Sphinx, docname: str, source: list[str]) -> None:
    """Turn the lists of the index into the site's navigation, so that pages are listed once."""
    if docname != "index":
        return
    for heading, section in _SECTION.findall(source[0]):
        pages = re.findall(r"\]\(([^)#:]+)\.md\)", section)
        listed = "\n".join(pages)
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {heading}\n\n{listed}\n```\n"


class LinkNames(SphinxPostTransform):
    """Lead from each full name in the prose, such as ``dask_sail.inspect()``, to its reference."""

    default_priority = 5  # before references are resolved

    def run(self, **kwargs: Any) -> None:
        known = self.env.domains.python_domain.objects
        for literal in list(self.document.findall(nodes.literal)):
            name = literal.astext().partition("(")[0]
            inside = isinstance(literal.parent, nodes.reference | nodes.title | pending_xref)
            if name in known and not inside:
                target = {"refdomain": "py", "reftype": "obj", "reftarget": name}
                link = pending_xref("", **target, refexplicit=True, refdoc=self.env.docname)
                literal.replace_self(link)
                link += literal


def find_by_last_name(app: Sphinx, env: Any, node: pending_xref, text: nodes.Element) -> Any:
    """Resolve `Scan` of a docstring, or `Scan.columns`, wherever in its package it stands."""
    if node.get("refdomain") != "py":
        return None
    domain = env.domains.python_domain
    package = (node.get("py:module") or "").partition(".")[0]
    target = node["reftarget"]
    for wanted in filter(None, (target, target.rpartition(".")[0])):
        names = [
            n for n, o in domain.objects.items() if f".{n}".endswith(f".{wanted}") and not o.aliased
        ]
        found = [n for n in names if n.startswith(f"{package}.")] or names
        if len(found) == 1:
            role = (env, node["refdoc"], app.builder, "obj")
            return domain.resolve_xref(*role, found[0], node, text)
    return None


def leave_out_constructors(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: str, returns: str
) -> tuple[str, None] | None:
    """Show no ``(*args, **kwargs)`` for a Protocol, which nobody makes an instance of."""
    return ("", None) if getattr(thing, "_is_protocol", False) else None


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-signature", leave_out_constructors)
    app.connect("source-read", make_navigation)
    app.connect("missing-reference", find_by_last_name)
    app.add_post_transform(LinkNames)
