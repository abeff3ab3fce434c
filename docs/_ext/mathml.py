"""Formulas as MathML, which browsers show without JavaScript and without a network."""

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml


def visit_inline(self, node):
    """Write a formula within a line."""
    self.body.append(tex2mathml(node.astext(), as_block=False))
    raise nodes.SkipNode  # its child, the source of the formula, must not be written too


def visit_block(self, node):
    """Write a formula of its own."""
    self.body.append('<div class="math">')
    self.body.append(tex2mathml(node.astext(), as_block=True))
    self.body.append("</div>\n")
    raise nodes.SkipNode


def depart(self, node):
    """Do nothing; it is not called, as `visit_inline` and `visit_block` raise SkipNode."""


def setup(app):
    """Register the renderer; it is used because it is the only one."""
    app.add_html_math_renderer("mathml", (visit_inline, depart), (visit_block, depart))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
