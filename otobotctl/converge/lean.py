"""The agent's sources without what only a type checker reads: importing `typing` costs a host a fifth of a look."""

from __future__ import annotations

import ast


def lean(text: str) -> str:
    """The module without those names of `typing` that nothing but annotations uses; its line numbers stay."""
    module = ast.parse(text)
    imports = [node for node in module.body if isinstance(node, ast.ImportFrom)]
    if not any(node.module == "__future__" for node in imports):  # it would read its annotations
        return text
    lines = text.split("\n")
    found = _Used()
    found.visit(module)
    for node in imports:
        if node.module == "typing":
            kept = [alias.name for alias in node.names if alias.name in found.names]
            end = node.end_lineno or node.lineno
            lines[node.lineno - 1 : end] = [""] * (end - node.lineno + 1)
            if kept:
                lines[node.lineno - 1] = f"from typing import {', '.join(kept)}"
    return "\n".join(lines)


class _Used(ast.NodeVisitor):
    """The names that a running module looks up."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_Name(self, node: ast.Name) -> None:
        self.names.add(node.id)

    def visit_arg(self, node: ast.arg) -> None:
        """An argument is its annotation and nothing else."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for each in (*node.decorator_list, node.args, *node.body):
            self.visit(each)
