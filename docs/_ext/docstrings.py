"""Docstrings are written to be read in the source; this makes them reStructuredText.

The package writes formulas in plain text: an indented block is one, and |x| is a length. To
reStructuredText the first is a quotation and the second a substitution. NumPy-style sections,
directives and doctests are left as they are.
"""

import ast
import inspect
import re

BAR = re.compile(r"(?<![\\`\w])\|(?=[^\s|])")
STAR = re.compile(r"(?<=\()\*(?=\w)")  # of a shape such as (*leading, K)


def setup(app):
    """Rewrite docstrings before numpydoc reads them."""
    app.connect("autodoc-process-docstring", rewrite, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def rewrite(app, what, name, obj, options, lines):
    """Change the lines of one docstring in place."""
    if what == "module":
        # From the source: Python takes away the indentation that all lines but the first share.
        docstring = ast.get_docstring(ast.parse(inspect.getsource(obj)), clean=False)
        lines[:] = [*plain_formulas(docstring.splitlines()), ""]
    else:
        lines[:] = escaped(lines)


def plain_formulas(lines):
    """Keep indented blocks of a module's docstring as they are typed; escape bars elsewhere."""
    written, inside = [], False
    for line in lines:
        indented = line.startswith("    ")
        if indented and not inside:
            written += ["::", ""]
        inside = indented or (inside and not line.strip())
        written.append(line if indented else BAR.sub(r"\\|", line))
    return written


def escaped(lines):
    """Escape bars and the stars of shapes outside formulas and literal blocks."""
    written, inside = [], False
    for line in lines:
        if line.lstrip().startswith(".. ") or line.rstrip().endswith("::"):
            inside = True
        elif line.strip() and not line.startswith(" "):
            inside = False
        literal = inside or line.lstrip().startswith((">>>", "..."))
        written.append(line if literal else STAR.sub(r"\\*", BAR.sub(r"\\|", line)))
    return written
