"""The page of a report, made from the JSON files that exist."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

NAME = "gpu.md"
GOALS = (
    ("noisy pixels per second, times the reference", "15"),
    ("share of the roofline", "0.40"),
    ("from accepting a slice to its overlay", "0.3 s"),
    ("first overlay", "20 s"),
    ("held-out Dice with eight labelled scans", "0.913"),
)


def write(folder: Path) -> None:
    """Write the page anew."""
    text = "\n".join(lines(folder)) + "\n"
    (folder / NAME).write_text(text, encoding="utf-8")


def lines(folder: Path) -> Iterator[str]:
    machine = read(folder, "machine")
    yield "# Measured on a GPU"
    yield ""
    yield "```sh"
    yield "scripts/gpu_wheels.sh WHEELS && python scripts/gpu_data.py DATA"
    yield "scripts/gpu_report.sh WHEELS DATA OUT"
    yield "```"
    yield ""
    if machine:
        yield f"{machine.get('date')}, {machine.get('device')}, torch {machine.get('torch')}."
        yield ""
    yield from table(["goal", ""], GOALS)
    sections: Sequence[tuple[str, str, Callable[[Mapping[str, Any]], Iterator[str]]]] = (
        ("machine", "The machine", facts),
        ("checks", "The engine's own tests", tests),
        ("steps", "A step beside the reference's dataflow", rows),
        ("step_profile", "Where a step's time goes", profiles),
        ("waits", "How long a person waits", rows),
        ("learning_eight", "Three minutes, eight labelled scans", learning),
        ("learning_sixteen", "Three minutes, sixteen slices of twelve scans", learning),
    )
    for name, title, section in sections:
        yield ""
        yield f"## {title}"
        yield ""
        content = read(folder, name)
        if content is None:
            yield "Not yet measured."
        else:
            yield from section(content)


def read(folder: Path, name: str) -> dict[str, Any] | None:
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def facts(content: Mapping[str, Any]) -> Iterator[str]:
    yield from table(["", ""], [(name.replace("_", " "), v) for name, v in content.items()])


def tests(content: Mapping[str, Any]) -> Iterator[str]:
    yield content["summary"]
    yield ""
    yield from table(["test", "result"], [(t["test"], t["result"]) for t in content["tests"]])


def rows(content: Mapping[str, Any]) -> Iterator[str]:
    found = content["rows"]
    heads = list(dict.fromkeys(name for row in found for name in row))
    heads = [h for h in heads if any(row.get(h) is not None for row in found)]
    shown = [h.replace("_", " ") for h in heads]
    yield from table(shown, [[row.get(h) for h in heads] for row in found])
    if content.get("left_out"):
        yield ""
        yield f"Left out for lack of time: {', '.join(content['left_out'])}."


def profiles(content: Mapping[str, Any]) -> Iterator[str]:
    names = [n for n in next(iter(content.values())) if not n.startswith(("kernels", "host"))]
    figures = [(n.replace("_", " "), *(c.get(n) for c in content.values())) for n in names]
    yield from table(["a step in", *content], figures)
    for dimensions, found in content.items():
        yield ""
        waits = [f"{name} {count:.1f}" for name, count in found["host_waits_a_step"].items()]
        yield f"{dimensions}: {found['kernels_a_step']:.0f} kernels and copies a step; the host "
        yield f"waits for the device in: {', '.join(waits) or 'nothing, every step'}."
        yield ""
        kernels = [(f"`{k['kernel']}`", k["ms"], k["count"]) for k in found["kernels"]]
        yield from table([f"kernel, {dimensions}", "ms a step", "times a step"], kernels)


def learning(content: Mapping[str, Any]) -> Iterator[str]:
    yield f"{content.get('cohort')} scans, {content.get('clean')} clean slices, "
    yield f"{content.get('held_out')} other scans held out; both trainings at the same time."
    yield ""
    yield from rows(content)
    if "final" in content:
        yield ""
        yield f"Final network, held out: {content['final']:.3f}; exported labels of the cohort: "
        yield f"{content['exported_dice']:.3f}. Chosen on the test scans, as is a habit of the "
        yield f"field and means nothing: {content['best_on_test']:.3f}."


def table(heads: Sequence[str], cells: Sequence[Sequence[Any]]) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + " --- |" * len(heads)
    for row in cells:
        yield "| " + " | ".join(text(cell) for cell in row) + " |"


def text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value).replace("|", "\\|")[:300]
