"""The figures of the house, of one checkout or of several side by side.

    python scripts/figures.py [FOLDER ...] [--names]

A folder's files leave `__init__.py` out. A room is a folder or a file right below a part; an arrow
goes from a room to one that it imports. A function's lines leave its docstring out.
"""

import argparse
import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "napari_mlbseg"
LONG_FUNCTION, LARGE_CLASS = 40, 12
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Figures:
    """What is counted of one checkout; names are paths below the package."""

    files: dict[str, int]
    arrows: dict[str, int]
    long_functions: list[str]
    large_classes: list[str]
    code_lines: int
    test_lines: int

    def rows(self) -> dict[str, str]:
        """Each figure by what it counts."""
        counts = {f"files in {folder}": str(n) for folder, n in self.files.items()}
        counts |= {f"arrows in {part}": str(n) for part, n in self.arrows.items()}
        return counts | {
            "most files in one folder": str(max(self.files.values(), default=0)),
            f"functions over {LONG_FUNCTION} lines": str(len(self.long_functions)),
            f"classes over {LARGE_CLASS} methods": str(len(self.large_classes)),
            "lines of code": str(self.code_lines),
            "lines of tests": str(self.test_lines),
            "tests / code": f"{self.test_lines / max(self.code_lines, 1):.2f}",
        }


def figures(repository: Path) -> Figures:
    """Count the package and the tests of a checkout."""
    package = repository / PACKAGE
    trees = {
        path.relative_to(package): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(package.rglob("*.py"))
    }
    return Figures(
        files=files_by_folder(list(trees)),
        arrows=arrows_by_part(trees),
        long_functions=[
            f"{path}: {node.name} ({lines})"
            for path, tree in trees.items()
            for node in ast.walk(tree)
            if isinstance(node, Function) and (lines := lines_of(node)) > LONG_FUNCTION
        ],
        large_classes=[
            f"{path}: {node.name} ({methods})"
            for path, tree in trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef) and (methods := methods_of(node)) > LARGE_CLASS
        ],
        code_lines=lines_below(package),
        test_lines=lines_below(repository / "tests"),
    )


def files_by_folder(paths: list[Path]) -> dict[str, int]:
    """How many modules lie right in each folder."""
    modules = (path for path in paths if path.name != "__init__.py")
    found = Counter(path.parent.as_posix() for path in modules)
    return {folder if folder != "." else PACKAGE: found[folder] for folder in sorted(found)}


def arrows_by_part(trees: dict[Path, ast.Module]) -> dict[str, int]:
    """How many pairs of rooms of each part import one another, each direction for itself."""
    found = {path.parts[0]: set[tuple[str, str]]() for path in trees if len(path.parts) > 1}
    for path, tree in trees.items():
        if len(path.parts) == 1:
            continue
        part, room = path.parts[0], path.parts[1].removesuffix(".py")
        for name in imported(tree):
            _, target, other, *_ = *name.split("."), "", ""
            if name.startswith(f"{PACKAGE}.{part}.") and target == part and other != room:
                found[part].add((room, other))
    return {part: len(arrows) for part, arrows in sorted(found.items())}


def imported(tree: ast.Module) -> Iterator[str]:
    """Full names of all that a module imports, lazily or not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def lines_of(node: Function) -> int:
    """Lines of a function from `def` on, without its docstring."""
    first = node.body[0]
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node, clean=False) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def methods_of(node: ast.ClassDef) -> int:
    """Methods and properties that a class itself defines."""
    return sum(isinstance(inner, Function) for inner in node.body)


def lines_below(folder: Path) -> int:
    """Lines of all Python files below a folder, blank ones as well."""
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in folder.rglob("*.py"))


def table(columns: list[dict[str, str]], heads: list[str]) -> str:
    """A Markdown table; a figure that a checkout lacks is left blank."""
    names = dict.fromkeys(name for column in columns for name in column)
    groups = [[n for n in names if n.startswith(start)] for start in ("files in", "arrows in")]
    names = dict.fromkeys([name for group in groups for name in sorted(group)] + list(names))
    lines = [["", *heads], ["---", *("---:" for _ in heads)]]
    lines += [[name, *(column.get(name, "") for column in columns)] for name in names]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Print the figures of the checkouts that are named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path, default=[Path(__file__).parents[1]])
    parser.add_argument("--names", action="store_true", help="also which functions and classes")
    options = parser.parse_args()
    found = [figures(folder) for folder in options.folders]
    heads = [folder.resolve().name for folder in options.folders]
    print(table([one.rows() for one in found], heads))
    if options.names:
        for head, one in zip(heads, found, strict=True):
            print(f"\n{head}", *one.long_functions, *one.large_classes, sep="\n  ")


if __name__ == "__main__":
    main()
