"""Formulas as MathML, which browsers typeset themselves: no script, no network, nothing to load."""

import re
from html import escape

from docutils.nodes import SkipNode
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

# TeX sets log and the like a little apart from their neighbors, unless these are brackets.
NAME = r"\\(?:log|exp|arg|max|min|det)(?![a-z])"
AFTER = re.compile(rf"({NAME})\s*(?=[A-Za-z0-9]|\\(?!left|lVert|lvert|{{|,))")
BEFORE = re.compile(rf"(?<=[\w}}'])\s*(?={NAME})")

LOG = logging.getLogger(__name__)


def setup(app):
    """Offer `html_math_renderer = "mathml"`."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def inline(self, node):
    """Write a formula in the text."""
    self.body.append(convert(node, as_block=False))
    raise SkipNode


def block(self, node):
    """Write a displayed formula."""
    self.body.append(f'<div class="formula">{convert(node, as_block=True)}</div>\n')
    raise SkipNode


def convert(node, *, as_block):
    """Turn TeX into MathML; warn of what cannot be converted, and show it as it is."""
    tex = BEFORE.sub(r"\,", AFTER.sub(r"\1\,", node.astext().strip()))
    if as_block and (r"\\" in tex or "&" in tex) and r"\begin" not in tex:
        tex = rf"\begin{{aligned}}{tex}\end{{aligned}}"
    try:
        return tex2mathml(tex, as_block=as_block)
    except MathError as error:
        LOG.warning("no MathML for %r: %s", tex, error, location=node)
        return f"<code>{escape(tex)}</code>"
