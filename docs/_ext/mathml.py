"""Formulas as MathML, which browsers show without JavaScript and without a network."""

from docutils.utils.math.latex2mathml import tex2mathml


def visit_inline(self, node):
    """Write a formula within a line."""
    self.body.append(tex2mathml(node.astext(), as_block=False))


def visit_block(self, node):
    """Write a formula of its own."""
    self.body.append('<div class="math">')
    self.body.append(tex2mathml(node.astext(), as_block=True))
    self.body.append("</div>\n")


def depart(self, node):
    """Do nothing after a formula: `visit_inline` and `visit_block` have written it."""


def setup(app):
    """Register the renderer; it is used because it is the only one."""
    app.add_html_math_renderer("mathml", (visit_inline, depart), (visit_block, depart))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
