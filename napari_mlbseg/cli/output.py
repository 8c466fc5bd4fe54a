"""What a user or a script sees: results on stdout, everything else on stderr."""

import json as json_module
import sys
import traceback as traceback_module
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from napari_mlbseg.cli.extent_words import ends_in_words, in_words
from napari_mlbseg.project.importing.rules import in_words as rules_in_words
from napari_mlbseg.project.records.slices import NEVER_LOOKED_AT
from napari_mlbseg.simulation import tables

Document = Mapping[str, Any]


def show(value: Document, *, json: bool, text: Callable[[Document], None]) -> None:
    """One JSON document on stdout, or the same in words."""
    if json:
        sys.stdout.write(json_module.dumps(value, indent=2, allow_nan=False) + "\n")
    else:
        text(value)


def note(message: str) -> None:
    """Write a remark to stderr."""
    sys.stderr.write(message + "\n")


def error(message: str) -> None:
    """Write an error to stderr."""
    note(f"mlbseg: {message}")


def traceback() -> None:
    """Show where the current exception came from."""
    sys.stderr.write(traceback_module.format_exc())


def study_text(study: Document) -> None:
    """Classes, cases and the last run as a table."""
    classes = ", ".join(map(_class_in_words, study["classes"])) or "none yet"
    table = Table("case", "shape", "spacing mm", "axis", "clean", "draft", "skipped", "prediction")
    for case in study["cases"]:
        counts = case["slices"]
        table.add_row(
            case["name"],
            "×".join(str(n) for n in case["shape"]),
            "×".join(f"{mm:.3g}" for mm in case["spacing_mm"]),
            str(case["axis"]),
            *(str(counts[state]) for state in ("clean", "draft", "skipped")),
            "yes" if "prediction" in case["arrays"] else "no",
        )
    _line(f"{study['study']}\nclasses: {classes}")
    if len(study["channels"]) > 1:
        _line(f"channels: {', '.join(study['channels'])}")
    Console().print(table)
    _line(ends_in_words(study["cases"]))
    reviewed = {w: sum(case[w] for case in study["cases"]) for w in ("approved", "returned")}
    if study["only_approved"] or any(reviewed.values()):
        said = ", ".join(f"{count} {what}" for what, count in reviewed.items())
        _line(f"reviews: {said}. {_teaching_in_words(study)}")
    if study["removed_cases"]:
        _line(f"removed: {listed(study['removed_cases'])}")
    if study["not_corrected"]:
        _line(f"not looked at: {study['not_corrected']}")
    if study["runs"]:
        last = study["runs"][-1]
        _line(f"runs: {len(study['runs'])}, the last one {last['outcome'] or 'did not end'}")


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def changed_text(told: Document) -> None:
    """Tell which cases were added, removed, restored, renamed or dropped."""
    for what in ("added", "removed", "restored", "dropped"):
        if told.get(what):
            _line(f"{what}: {listed(told[what])}")
    for before, after in told.get("renamed", {}).items():
        _line(f"{before} is called {after} now.")
    if told.get("dropped") == []:
        _line("There was nothing to drop.")


def files_text(told: Document) -> None:
    """Tell which files cases have now."""
    for case in told["cases"]:
        labels = f", labels {case['labels']}" if case["labels"] else ""
        _line(f"{case['name']}: {case['image']}{labels}")


def classes_text(study: Document) -> None:
    """One class a line, with what is said of it."""
    for found in study["classes"]:
        _line(_class_in_words(found))


def _class_in_words(found: Document) -> str:
    said = rules_in_words(found["most_pieces"], found["no_holes"])
    return f"{found['value']} {found['name']}" + (f" ({said})" if said else "")


def import_notes(study: Document) -> None:
    """Anything unusual about imported files, and which files were not imported and why."""
    for found in study["notes"]:
        note(f"note: {found['note']}")
    if study["failures"]:
        error(f"{len(study['failures'])} files were not imported:")
    for failure in study["failures"]:
        note(f"  {failure['reason']}")


def show_plan(plan: Document, *, json: bool) -> None:
    """Show the cases that an import would make, and what would be left out."""
    show(plan, json=json, text=plan_text)
    import_notes(plan)


def plan_text(plan: Document) -> None:
    """The cases that an import would make, as a table."""
    table = Table("case", "image", "labels")
    for case in plan["cases"]:
        files = case.get("channels", {}).items()
        image = "\n".join(f"{name}: {file or 'missing'}" for name, file in files) or case["image"]
        labels = case["labels"] or ""
        if case["structures"]:
            labels += f" ({len(case['structures'])} structures)"
        table.add_row(case["id"], image, labels)
    console = Console()
    (console if console.is_terminal else Console(width=240)).print(table)


def accepted_text(accepted: Document) -> None:
    """Tell which slices became clean."""
    for text in accepted["notes"]:
        note(f"note: {text}")
    _line(
        f"{accepted['case']}: {len(accepted['slices'])} slices along axis {accepted['axis']} "
        f"are clean; the study has {accepted['clean_slices']}."
    )


def extents_text(case: Document) -> None:
    """Tell what is marked in a case, and of which ends nothing is known."""
    for line in in_words(case):
        _line(line)


def export_text(written: Document) -> None:
    """List the exported files, what was tidied, and which names do not fit."""
    for text in written["notes"]:
        note(f"note: {text}")
    for text in (*written["files"], *written["tidied_summary"]):
        _line(text)
    if written["arrived"]:
        _line(f"Arrived at the archive as they are here: {len(written['arrived'])}.")


def verified_text(found: Document) -> None:
    """List what is damaged, and tell what was looked at."""
    for one in found["findings"]:
        _line(f"{one['where']}: {one['what']}")
    counts = found["counts"]
    looked = ", ".join(
        f"{counts[name]} {name}" for name in ("revisions", "arrays", "checkpoints", "backups")
    )
    _line(f"{'Sound' if found['sound'] else 'Looked at'}: {looked}.")
    if counts["unhashed"]:
        _line(f"{counts['unhashed']} revisions are from before there were hashes.")


def repaired_text(told: Document) -> None:
    """Tell what was repaired."""
    for line in told["done"]:
        _line(line)
    if not (told["done"] or told["left"]):
        _line("There was nothing to repair.")


def backup_text(made: Document) -> None:
    """Tell where the backup is."""
    _line(made["backup"])


def log_text(told: Document) -> None:
    """One line for each thing that was done."""
    for one in told["lines"]:
        details = ", ".join(f"{name} {value}" for name, value in one["details"].items())
        where = f" {one['case']}" if one["case"] else ""
        _line(f"{one['at'][:19]} {one['author']}: {one['action']}{where} ({details})")
    for line in told["unreadable"]:
        note(f"note: {line}")


def report_text(written: Document) -> None:
    """Tell where the page is."""
    _line(written["report"])


def damage_notes(damage: Sequence[str]) -> None:
    """What is damaged in a study and passed over, on stderr."""
    for line in damage:
        note(f"note: {line}")


def model_text(written: Document) -> None:
    """Tell where the model is, and how close it is to the engine."""
    _line(
        f"{written['out']}: {written['bytes'] / 2**20:.1f} MB; probabilities differ by at most "
        f"{written['worst_difference']:.1g} from the engine's."
    )


def run_text(summary: Document) -> None:
    """Tell how a run ended."""
    how = "Stopped; the next run resumes from here" if summary["stopped"] else "Finished"
    _line(f"{how}: step {summary['step']} after {summary['seconds']:.0f} s on {summary['device']}.")
    if summary["validation_dice"] is not None:
        _line(f"Dice on validation slices: {summary['validation_dice']:.3f}")


def copies_text(told: Document) -> None:
    """Tell who got which cases."""
    for one in told["copies"]:
        _line(f"{one['study']}: {listed(one['cases'])}")
    if told["blind"]:
        _line(f"{len(told['blind'])} slices go to all of them, to be corrected blindly.")


def merged_text(told: Document) -> None:
    """Tell what was taken from copies, and the conflicts."""
    for one in told["merged"]:
        cases = f", the cases {listed(one['cases'])}" if one["cases"] else ""
        ends = f", {one['extents']} extents" if one["extents"] else ""
        said = f", {one['reviews']} reviews" if one["reviews"] else ""
        _line(f"{one['study']}: {one['revisions']} revisions of slices{ends}{said}{cases}")
    if told["conflicts"]:
        conflicts_text(told)


def conflicts_text(told: Document) -> None:
    """The slices that several people accepted with different masks as a table."""
    if not told["conflicts"]:
        _line("There are no conflicts.")
        return
    table = Table("case", "axis", "slice", "accepted by")
    for one in told["conflicts"]:
        people = (f"{who['by']} ({who['at'][:16].replace('T', ' ')})" for who in one["accepted"])
        table.add_row(one["case"], str(one["axis"]), str(one["slice"]), ", ".join(people))
    Console().print(table)
    _line("They are drafts until one is accepted: mlbseg choose STUDY CASE --slice N --by NAME")


def reviewed_text(told: Document) -> None:
    """Tell how many slices were reviewed, and what is left."""
    _line(f"Slices reviewed: {len(told['reviewed'])}; still to review: {told['to_review']}.")


def reviews_text(told: Document) -> None:
    """What was said of slices as a table."""
    table = Table("case", "axis", "slice", "review", "accepted by", "reviewed by", "note")
    for one in told["slices"]:
        row = (one["case"], str(one["axis"]), str(one["slice"]), one["review"])
        table.add_row(*row, one["accepted_by"], one["reviewed_by"] or "", one["note"] or "")
    if told["slices"]:
        Console().print(table)
    _line(
        f"{told['to_review']} slices to review, {told['approved']} approved, "
        f"{told['returned']} returned. {_teaching_in_words(told)}"
    )


def teaching_text(told: Document) -> None:
    """Tell which slices teach, and how many there are."""
    _line(
        f"{_teaching_in_words(told)} {told['teaching_slices']} of {told['clean_slices']} accepted "
        "slices do."
    )


def _teaching_in_words(told: Document) -> str:
    return "Only approved slices teach." if told["only_approved"] else "All accepted slices teach."


def agreement_text(told: Document) -> None:
    """The agreement of each pair of people as a table."""
    if not told["agreement"]:
        _line(
            "Nobody corrected the same slice without knowing of another's mask. "
            "`mlbseg split --shared 0.1` gives a share of the cases to all."
        )
        return
    table = Table("people", "class", "slices", "Dice", "distance mm")
    for one in told["agreement"]:
        away = one["distance_mm"]
        distance = "" if away is None else f"{away:.2f}"
        row = (listed(one["people"]), one["class"], str(one["slices"]), f"{one['dice']:.3f}")
        table.add_row(*row, distance)
    Console().print(table)


def suggestions_text(found: Document) -> None:
    """The slices to correct next as a table."""
    table = Table("case", "axis", "slice", "adds", "doubtful mm²", "")
    for one in found["suggestions"]:
        gain, doubtful = one["gain"], one["doubtful_mm2"]
        table.add_row(
            one["case"],
            str(one["axis"]),
            str(one["slice"]),
            "" if gain is None else f"{gain:.1%}",
            "" if doubtful is None else f"{doubtful:.0f}",
            one["words"] or (NEVER_LOOKED_AT if one["never_looked_at"] else ""),
        )
    Console().print(table)
    ends = any(one["asks_for"] for one in found["suggestions"])
    if ends:
        _line("Ends come first: mlbseg extent STUDY CASE --first A --last B marks them.")
    if any(one["never_looked_at"] for one in found["suggestions"]):
        _line(
            f"Slices that were {NEVER_LOOKED_AT} come {'next' if ends else 'first'}: no clean "
            "slice is near, so nothing is known about their labels."
        )
    if any(one["gain"] is None and not one["asks_for"] for one in found["suggestions"]):
        _line("There is no prediction yet, so these slices are spread evenly.")


def simulation_text(rows: Sequence[Document]) -> None:
    """Show what a simulation measured: means over the seeds, with standard deviations."""
    heads, lines = tables.table(rows)
    table = Table(*heads)
    for cells in lines:
        table.add_row(*cells)
    console = Console()
    (console if console.is_terminal else Console(width=240)).print(table)


def demo_text(summary: Document) -> None:
    """Show Dice before and after, and where the files are."""
    if summary["stopped"]:
        _line("Stopped.")
        return
    table = Table("Dice against the truth on slices that were not corrected", "before", "after")
    for name, before in summary["dice_before"].items():
        table.add_row(name, f"{before:.3f}", f"{summary['dice_after'][name]:.3f}")
    Console().print(table)
    _line(
        f"{summary['clean_slices']} of {summary['all_slices']} slices were corrected; "
        f"the run took {summary['seconds']:.0f} s on {summary['device']}."
    )
    for name, path in summary["files"].items():
        _line(f"{name}: {path}")


def _line(text: str) -> None:
    sys.stdout.write(text + "\n")
