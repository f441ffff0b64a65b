"""The code that a template is compiled to: passes of loops, comparisons and written texts are charged in it.

It names filters of the environment: `charged`, `metered_items`, `string`.
"""

from __future__ import annotations

from functools import reduce

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.visitor import NodeTransformer

from glm_gguf.chat.template_costs import STEP_CHARACTERS, STEP_ITEMS


class Meters(NodeTransformer):
    """Charges what the sandbox has no hook for: passes of loops, searches, joined and written texts."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        """Charge every pass, and the text that stands in it."""
        texts = [len(one.data) for one in node.find_all(nodes.TemplateData)]
        self.generic_visit(node)
        cost = nodes.Const(1 + sum(texts) // STEP_CHARACTERS + len(texts) // STEP_ITEMS)
        node.iter = nodes.Filter(node.iter, "metered_items", [cost], [], None, None)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        """Write `a ~ b` as the sum of texts, which is charged."""
        self.generic_visit(node)
        texts: list[nodes.Expr] = [_filtered("string", part) for part in node.nodes]
        return reduce(nodes.Add, texts)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        """Charge a search and a comparison."""
        self.generic_visit(node)
        node.expr = _charged_node(node.expr)
        for operand in node.ops:
            operand.expr = _charged_node(operand.expr)
        return node

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:
        """Charge a key, whose hash is computed from all that it holds."""
        self.generic_visit(node)
        node.key = _charged_node(node.key)
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        """Charge written text."""
        self.generic_visit(node)
        literal = nodes.TemplateData
        node.nodes = [part if isinstance(part, literal) else _filtered("charged", part) for part in node.nodes]
        return node

    def visit_AssignBlock(self, node: nodes.AssignBlock) -> nodes.Node:
        """Charge the text of an assigned block."""
        self.generic_visit(node)
        node.filter = _filtered("string", node.filter)
        return node


class MeteredCode(CodeGenerator):
    """Compiles a template with its meters."""

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:
        """Add the charges before names of filters are collected."""
        Meters().visit(node)
        node.set_environment(self.environment).set_lineno(1)
        super().visit_Template(node, frame)


def _filtered(name: str, node: nodes.Node | None) -> nodes.Filter:
    """Return a node behind a filter; None stands for the text of a block."""
    return nodes.Filter(node, name, [], [], None, None)


def _charged_node(node: nodes.Expr) -> nodes.Expr:
    """Return a node that is charged, unless it is a constant of the template."""
    return node if isinstance(node, nodes.Const) else _filtered("charged", node)
