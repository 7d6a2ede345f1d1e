#!/usr/bin/env python3
"""Draws the story: pages a second and their latency over time, a row for each scene.

    target/peers/plots/bin/python bench/story/plot.py FOLDER
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import plots  # noqa: E402  (the style is that of the matrix)

plt = plots.plt
COLOURS = {"axum-minijinja": "#1d4ed8", **plots.DRIVERS}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    raw = json.loads((folder / "raw.json").read_text())
    plots.style()
    figure = draw(raw) if raw["runs"] else plots.empty("nothing was measured")
    figure.savefig(folder / "story.svg", metadata={"Date": None})
    figure.savefig(folder / "story.png", dpi=110)


def draw(raw):
    scenes = list(dict.fromkeys((run["scene"], run["title"]) for run in raw["runs"]))
    figure, rows = plt.subplots(len(scenes), 2, figsize=(11, 2.4 * len(scenes) + 0.8), squeeze=False)
    for (scene, title), (pages, times) in zip(scenes, rows):
        runs = [run for run in raw["runs"] if run["scene"] == scene]
        arrived = seconds(runs[0], lambda part: sum(one["arrived"] for one in part))
        pages.step(*arrived, where="post", color=plots.PALE, lw=1, ls=":", label="visitors")
        for run in runs:
            colour = COLOURS.get(run["contender"], plots.INK)
            came = seconds(run, lambda part: sum(one["came"] for one in part))
            pages.step(*came, where="post", color=colour, lw=1.5, label=run["label"])
            at = [(one["from_s"], one["page_ms"]["p99"]) for one in slices(run) if one["page_ms"]]
            times.plot(*zip(*at) if at else ([], []), ".", ms=2, color=colour)
        most = max((run["capacity"] or 0) for run in runs) * 1.6
        # Ten times as many visitors as can be served would flatten all the rest.
        pages.set_ylim(0, most or None)
        times.set_yscale("log")
        pages.set_title(f"{scene}: {title}", loc="left", size=10)
        times.set_title("p99 of pages by when they were due, ms", loc="left", size=9)
        for axis in (pages, times):
            for part in runs[0]["parts"][1:]:
                axis.axvline(part["begun_s"], color=plots.GRID, lw=1.2, zorder=0)
    rows[0][0].legend(fontsize=7, frameon=False)
    figure.supxlabel("seconds", size=9)
    machine = raw["machine"]
    note = "A short run: its figures mean nothing. " if raw["short"] else ""
    place = f"{note}{machine['cpu']}, {machine['kernel']}, {machine['date']}, {machine['commit']}"
    figure.text(0.01, 0.002, place, size=7, color=plots.PALE)
    figure.tight_layout()
    return figure


def slices(run):
    return run["load"]["course"]["slices"]


def seconds(run, of):
    parts = slices(run)
    chunks = [parts[at : at + 10] for at in range(0, len(parts), 10)]
    widths = [len(chunk) / 10 for chunk in chunks]
    return [chunk[0]["from_s"] for chunk in chunks], [of(c) / w for c, w in zip(chunks, widths)]


if __name__ == "__main__":
    main()
