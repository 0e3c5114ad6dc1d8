"""Formulas as MathML, which browsers typeset themselves: no script, no network, nothing to load.

docutils converts TeX. Around it stand a few corrections: spaces beside log and the like, one-digit
fractions, bars that enclose, and accents on letters with an index.
"""

import re
from html import escape
from itertools import cycle

from docutils.nodes import SkipNode
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

LOG = logging.getLogger(__name__)

# TeX sets log and the like a little apart from their neighbors, unless these are brackets.
NAME = r"\\(?:log|exp|arg|max|min|det)(?![a-z])"
AFTER = re.compile(rf"({NAME})\s*(?=[A-Za-z0-9]|\\(?!left|lVert|lvert|{{|,))")
BEFORE = re.compile(rf"(?<=[\w}}'])\s*(?={NAME})")
# The 12 of \frac12 is two numbers.
SHORT_FRACTION = re.compile(r"(frac) *([0-9])([0-9])")
# A bar encloses something: it opens, then closes. (\mid is another character.)
BAR = re.compile(r"<mo[^>]*>([|‖])</mo>")
ACCENT = re.compile(
    r"<munderover>\s*(<mi>[^<]*</mi>)\s*(<mrow>.*?</mrow>|<m[in]>[^<]*</m[in]>)"
    r'\s*(<mo stretchy="false">.</mo>)\s*</munderover>',
    re.DOTALL,
)


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
    tex = node.astext().strip().replace(r"\textstyle", "")  # docutils wants a group around it
    tex = SHORT_FRACTION.sub(r"\1{\2}{\3}", tex)
    tex = BEFORE.sub(r"\\,", AFTER.sub(r"\1\\,", tex))
    if as_block and (r"\\" in tex or "&" in tex) and r"\begin" not in tex:
        tex = rf"\begin{{aligned}}{tex}\end{{aligned}}"
    try:
        mathml = tex2mathml(tex, as_block=as_block)
    except MathError as error:
        LOG.warning("no MathML for %r: %s", tex, error, location=node)
        return f"<code>{escape(tex)}</code>"
    forms = cycle(("prefix", "postfix"))
    mathml = BAR.sub(lambda bar: f'<mo form="{next(forms)}" stretchy="false">{bar[1]}</mo>', mathml)
    return ACCENT.sub(r'<msub><mover accent="true">\1\3</mover>\2</msub>', mathml)
