"""The same model without spans: its source with every ``with span(...)`` taken out.

Replacing ``span`` with something cheap would still pay for the ``with``, the call and the lambda;
here nothing of it is left. ``mark.output(x)`` becomes ``x``, and the import of ``span`` goes too,
so that one that was missed would be a NameError.
"""

from __future__ import annotations

import ast
import inspect
import types
from typing import Any

import model.attention
import model.transformer
from model import ModelConfig, TransformerLM


class _WithoutSpans(ast.NodeTransformer):
    """Takes spans out of a module."""

    def visit_With(self, node: ast.With) -> ast.AST | list[ast.stmt]:
        """Put the body in the place of ``with span(...) as mark``."""
        self.generic_visit(node)
        opened = [item.context_expr for item in node.items]
        spans = (isinstance(one, ast.Call) and ast.unparse(one.func) == "span" for one in opened)
        return node.body if all(spans) else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Put what was given in the place of ``mark.output(...)``."""
        self.generic_visit(node)
        if ast.unparse(node.func) != "mark.output":
            return node
        return node.args[0] if len(node.args) == 1 else ast.Tuple(node.args, ast.Load())

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Drop a line that says ``mark.output(x)`` and nothing else."""
        self.generic_visit(node)
        return None if isinstance(node.value, ast.Name) else node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        """Drop the import of ``span``."""
        return None if node.module == "profiling.spans" else node


def without_spans(source: str) -> ast.Module:
    r"""Return the code of a module without its spans.

    >>> source = "with span('a', cost=lambda: b) as mark:\n    c = mark.output(d)"
    >>> ast.unparse(without_spans(source))
    'c = d'
    """
    tree = ast.parse(source)
    _WithoutSpans().visit(tree)  # in place
    return ast.fix_missing_locations(tree)


def _module(original: types.ModuleType, **replaced: object) -> dict[str, Any]:
    """Return the names of a module of the model without spans, some of them replaced."""
    module = types.ModuleType(f"{original.__name__}_without_spans")
    code = compile(without_spans(inspect.getsource(original)), original.__name__, "exec")
    exec(code, module.__dict__)
    module.__dict__.update(replaced)
    return module.__dict__


def spanless(twin: TransformerLM, config: ModelConfig) -> TransformerLM:
    """Return a model without spans on the very weights of its twin."""
    attention = _module(model.attention)["Attention"]
    bare: TransformerLM = _module(model.transformer, Attention=attention)["TransformerLM"](config)
    bare.load_state_dict(twin.state_dict(), assign=True)
    return bare
