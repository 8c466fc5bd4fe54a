"""Attributes are born in `__init__`, and nobody sets those of another object."""

import ast
from collections.abc import Iterator
from pathlib import Path

import napari_mlbseg.engine

ROOT = Path(napari_mlbseg.engine.__file__).parent

# What only another library's objects take: gradients, layers' classes, the header of a file.
OF_OTHER_LIBRARIES = {
    ("nets/network.py", "module.__class__"),
    ("training/state.py", "value.grad"),
    ("deploy/graphs.py", "model.producer_name"),
    ("deploy/graphs.py", "model.producer_version"),
}


def targets(tree: ast.AST) -> Iterator[ast.Attribute]:
    """Every attribute that is assigned to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            yield node


def of_self(target: ast.Attribute) -> bool:
    return isinstance(target.value, ast.Name) and target.value.id == "self"


def poked(path: Path) -> set[tuple[str, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    name = path.relative_to(ROOT).as_posix()
    return {(name, ast.unparse(target)) for target in targets(tree) if not of_self(target)}


def born_late(path: Path) -> set[str]:
    """Attributes that are set in a method but neither in `__init__` nor as a field."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ClassDef):
            continue
        known = {
            item.target.id
            for item in node.body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        }
        methods = [item for item in node.body if isinstance(item, ast.FunctionDef)]
        for method in methods:
            if method.name == "__init__":
                known |= {target.attr for target in targets(method) if of_self(target)}
        late = {t.attr for m in methods for t in targets(m) if of_self(t)} - known
        found |= {f"{path.name}: {node.name}.{name}" for name in late}
    return found


FILES = sorted(ROOT.rglob("*.py"))


def test_nobody_sets_a_field_of_another_object() -> None:
    assert len(FILES) > 50
    assert set().union(*map(poked, FILES)) == OF_OTHER_LIBRARIES


def test_attributes_are_born_in_init() -> None:
    assert set().union(*map(born_late, FILES)) == set()
