#!/usr/bin/env python3
"""Draws the plots of a folder of results: cpu, arrivals, memory and drivers, as SVG and PNG.

    target/peers/plots/bin/python bench/plots.py bench/results/2026-11-22
"""

import json
import statistics
import sys
from pathlib import Path

try:
    import matplotlib
except ImportError:
    sys.exit("matplotlib is missing: bench/peers/install plots")

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

COLOURS = {
    "ringpress": "#c2410c",
    "floor": "#525252",
    "rust": "#1d4ed8",
    "nginx": "#0f766e",
    "node": "#15803d",
    "go": "#0891b2",
    "python": "#7e22ce",
}
DRIVERS = {"monoio": "#c2410c", "ring": "#be185d", "tokio-uring": "#f59e0b", "epoll": "#475569"}
INK, PALE, GRID = "#1f2937", "#6b7280", "#e5e7eb"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    results = Results(json.loads((folder / "raw.json").read_text()))
    style()
    for name, draw in (("cpu", cpu), ("arrivals", arrivals), ("memory", memory), ("drivers", drivers)):
        figure = draw(results)
        if figure is None:
            figure = empty(f"{name}: not measured in this run")
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
        figure.savefig(folder / f"{name}.png", dpi=160)
        plt.close(figure)


class Results:
    """Runs by scenario, point and contender."""

    def __init__(self, raw):
        self.raw = raw
        self.contenders = {one["name"]: one for one in raw["contenders"]}
        self.runs = raw["runs"]
        machine = raw["machine"]
        self.place = f"{machine['cpu']}, {machine['kernel']}, {machine['date']}, commit {machine['commit']}"
        if raw["short"]:
            self.place = "A short run: its figures mean nothing. " + self.place

    def points(self, scenario):
        return list(dict.fromkeys(run["point"] for run in self.runs if run["scenario"] == scenario))

    def of(self, scenario, point, contender):
        key = (scenario, point, contender)
        return [r for r in self.runs if (r["scenario"], r["point"], r["contender"]) == key]

    def cpu(self, scenario, point, contender):
        """Median, lowest and highest, or None."""
        values = [r["cpu_us"] for r in self.of(scenario, point, contender) if r["cpu_us"] is not None]
        return (statistics.median(values), min(values), max(values)) if values else None

    def ratio(self, scenario, point, over, under):
        """The median of the ratios of each round."""
        base = {run["round"]: run["cpu_us"] for run in self.of(scenario, point, under)}
        pairs = [(run["cpu_us"], base.get(run["round"])) for run in self.of(scenario, point, over)]
        return statistics.median(a / b for a, b in pairs if a and b)

    def colour(self, contender):
        return COLOURS[self.contenders[contender]["group"]]

    def label(self, contender):
        return self.contenders[contender]["label"]


def style():
    plt.rcParams.update(
        {
            "font.size": 10,
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial"],
            "svg.fonttype": "none",
            "svg.hashsalt": "ringpress",
            "text.color": INK,
            "axes.edgecolor": GRID,
            "axes.labelcolor": PALE,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": GRID,
            "grid.linewidth": 0.8,
            "xtick.color": PALE,
            "ytick.color": PALE,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.facecolor": "white",
        }
    )


def heading(figure, title, subtitle, results):
    """Title and subtitle above, machine below; the axes are laid out between them."""
    height = figure.get_figheight()
    figure.text(0.015, 1 - 0.16 / height, title, size=14, weight="bold", va="top")
    figure.text(0.015, 1 - 0.46 / height, subtitle, size=9.5, color=PALE, va="top")
    figure.text(0.015, 0.1 / height, results.place, size=7.5, color=PALE, va="bottom")
    figure.tight_layout(rect=(0, 0.28 / height, 1, 1 - 0.78 / height))


def empty(text):
    figure = plt.figure(figsize=(8, 1.2))
    figure.text(0.5, 0.5, text, ha="center", va="center", color=PALE)
    return figure


def plain(axis):
    """A logarithmic axis with numbers as people write them."""
    ticks = [m * 10**e for e in range(-1, 6) for m in (1, 2, 5)]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(short))


def short(value, _=None):
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def cpu(results):
    """A row for each contender: the API at once, and at 50 ms."""
    shown = [("A", point, "o", "API at once, 64 connections") for point in results.points("A")[:1]]
    shown += [("B", point, "D", f"API 50 ms, {point}") for point in results.points("B")[:1]]
    rows = {}
    for name in results.contenders:
        values = [results.cpu(scenario, point, name) for scenario, point, *_ in shown]
        if any(values):
            rows[name] = values
    if not rows:
        return None
    order = sorted(rows, key=lambda name: next(v for v in rows[name] if v)[0], reverse=True)
    figure, axes = plt.subplots(figsize=(9, 1.6 + 0.3 * len(order)))
    axes.set_xscale("log")
    for y, name in enumerate(order):
        for (_, _, marker, _), value in zip(shown, rows[name]):
            if value is None:
                continue
            median, low, high = value
            first = marker == "o"
            colour = results.colour(name)
            axes.plot([low, high], [y, y], color=colour, lw=3, alpha=0.3, solid_capstyle="round")
            face = colour if first else "white"
            axes.plot(median, y, marker, color=colour, mfc=face, ms=7 if first else 5.5, mew=1.5)
        best = max(v[2] for v in rows[name] if v)
        said = " / ".join(f"{v[0]:.0f}" for v in rows[name] if v)
        axes.annotate(said, (best, y), (8, 0), textcoords="offset points", va="center", size=8.5, color=PALE)
    axes.set_yticks(range(len(order)), [results.label(name) for name in order])
    for tick, name in zip(axes.get_yticklabels(), order):
        tick.set_color(INK)
        if results.contenders[name]["group"] == "ringpress":
            tick.set_weight("bold")
            tick.set_color(COLOURS["ringpress"])
    axes.grid(axis="y", visible=False)
    plain(axes.xaxis)
    axes.set_xlim(right=axes.get_xlim()[1] * 1.9)
    axes.set_xlabel("CPU time a page, µs (logarithmic)")
    filled = {"o": "●", "D": "◇"}
    legend = ";  ".join(f"{filled[marker]} {text}" for *_, marker, text in shown)
    heading(figure, "What a page costs the server", f"{legend};  line: lowest to highest round", results)
    return figure


def arrivals(results):
    """A small plot for each contender: latency against arrivals, and where pages are lost."""
    lines = {}
    for name in results.contenders:
        runs = [run for point in results.points("D") for run in results.of("D", point, name)[:1]]
        if runs:
            lines[name] = runs
    if not lines:
        return None
    order = sorted(lines, key=lambda name: (-knee(lines[name]), name))
    columns = 4
    rows = -(-len(order) // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(11, 1.2 + 1.75 * rows), sharex=True, sharey=True, squeeze=False
    )
    for axes in grid.flat[len(order) :]:
        axes.set_visible(False)
    for axes, name in zip(grid.flat, order):
        runs, colour = lines[name], results.colour(name)
        axes.set_xscale("log")
        axes.set_yscale("log")
        good = [run for run in runs if run["latency_ms"]]
        rates = [run["rate"] for run in good]
        p50 = [run["latency_ms"]["p50"] for run in good]
        p99 = [run["latency_ms"]["p99"] for run in good]
        axes.fill_between(rates, p50, p99, color=colour, alpha=0.18, lw=0)
        axes.plot(rates, p50, color=colour, lw=1.8)
        axes.plot(rates, p99, color=colour, lw=1, ls=(0, (3, 1.5)))
        lost = [(run["rate"], run["latency_ms"]["p99"]) for run in good if served(run) < 0.995]
        if lost:
            axes.plot(*zip(*lost), "x", color="#b91c1c", ms=6, mew=1.8)
        axes.set_title(results.label(name), size=8, loc="left", color=colour, weight="bold")
        last = knee(runs)
        text = f"keeps up to {short(last)}/s" if last else "does not keep up"
        axes.text(0.04, 0.88, text, transform=axes.transAxes, size=8, color=INK)
    for axes in grid.flat:
        axes.xaxis.set_major_locator(FixedLocator([20, 100, 500, 2000, 8000]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(short))
        axes.yaxis.set_major_locator(FixedLocator([50, 200, 1000, 5000]))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v / 1000:g} s" if v >= 1000 else f"{v:g} ms"))
        axes.set_ylim(40, 9000)
        axes.tick_params(labelsize=8)
    figure.supxlabel("arrivals a second (logarithmic)", size=9, color=PALE, y=0.35 / figure.get_figheight())
    subtitle = "The API takes 50 ms. Line: half of the visitors wait no longer; dashed: 99 of 100; red cross: some got no page"
    heading(figure, "Where the queue begins", subtitle, results)
    return figure


def served(run):
    lost = run["open"]["shed"] + sum(run["failures"].values())
    every = run["open"]["pages"] + lost
    return run["open"]["pages"] / every if every else 0


def knee(runs):
    """The highest rate without a queue to speak of; the report has the same rule."""
    last = 0
    for run in runs:
        slow = run["latency_ms"] is None or run["latency_ms"]["p99"] > run["delay_ms"] + 100
        if slow or served(run) < 0.995:
            break
        last = run["rate"]
    return last


def memory(results):
    """Memory of the server against pages in flight, closed loops at 50 and 500 ms."""
    lines = {}
    for name in results.contenders:
        values = {}
        for run in results.runs:
            if run["contender"] == name and run["scenario"] in "BC":
                values.setdefault((run["scenario"], run["point"]), []).append(run)
        line = []
        for runs in values.values():
            in_flight = statistics.median(in_flight_of(r) for r in runs)
            line.append((in_flight, statistics.median(r["memory_bytes"] for r in runs) / 2**20))
        if line:
            lines[name] = sorted(line)
    if not lines:
        return None
    figure, axes = plt.subplots(figsize=(9, 5.6))
    axes.set_xscale("log")
    axes.set_yscale("log")
    ends = []
    for name, line in lines.items():
        x, y = zip(*line)
        own = results.contenders[name]["group"] == "ringpress"
        axes.plot(x, y, "-o", color=results.colour(name), lw=2.2 if own else 1.2, ms=4, alpha=1 if own else 0.75)
        ends.append([y[-1], x[-1], name])
    label_ends(axes, ends, results)
    plain(axes.xaxis)
    plain(axes.yaxis)
    axes.set_xlim(right=axes.get_xlim()[1] * 3.2)
    axes.set_xlabel("pages in flight (logarithmic)")
    axes.set_ylabel("memory of the server, MiB")
    heading(figure, "What waiting pages take", "Resident memory (PSS) under B and C; the kernel's socket memory is not in it", results)
    return figure


def in_flight_of(run):
    """Connections of a closed loop; arrivals times the API's time in an open one (Little's law)."""
    return run["rate"] * run["delay_ms"] / 1000 if run["rate"] else run["connections"]


def label_ends(axes, ends, results):
    """Names at the ends of lines, pushed apart where they would cover each other."""
    ends.sort()
    place, step = 0, 1.16
    for y, x, name in ends:
        place = max(y, place * step)
        axes.annotate(
            results.label(name), (x, y), (x * 1.12, place), size=7.5, va="center",
            color=results.colour(name), arrowprops={"arrowstyle": "-", "color": GRID, "lw": 0.6},
        )


def drivers(results):
    """The same server on three drivers, at every point."""
    rows = []
    for scenario in "ABCDEFGH":
        for point in results.points(scenario):
            values = {name: results.cpu(scenario, point, name) for name in DRIVERS}
            if all(values.values()):
                rows.append((f"{scenario}  {point}", values, (scenario, point)))
    if not rows:
        return None
    figure, axes = plt.subplots(figsize=(9, 1.6 + 0.32 * len(rows)))
    axes.set_xscale("log")
    for y, (_, values, where) in enumerate(reversed(rows)):
        for shift, (name, colour) in zip((0.18, 0, -0.18), DRIVERS.items()):
            median, low, high = values[name]
            axes.plot([low, high], [y + shift] * 2, color=colour, lw=3, alpha=0.3, solid_capstyle="round")
            axes.plot(median, y + shift, "o", color=colour, ms=5)
        ratio = results.ratio(*where, "epoll", "monoio")
        top = max(value[2] for value in values.values())
        axes.annotate(f"epoll × {ratio:.2f}", (top, y), (8, 0), textcoords="offset points", va="center", size=8, color=PALE)
    axes.set_yticks(range(len(rows)), [text for text, *_ in reversed(rows)])
    axes.tick_params(axis="y", colors=INK)
    plain(axes.xaxis)
    axes.set_xlim(right=axes.get_xlim()[1] * 1.35)
    axes.set_xlabel("CPU time a page, µs (logarithmic)")
    for name, colour in DRIVERS.items():
        axes.plot([], [], "o", color=colour, label=name)
    axes.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1), fontsize=9)
    heading(figure, "io_uring against epoll", "The same server, a build of its own for each driver; line: lowest to highest round", results)
    return figure


if __name__ == "__main__":
    main()
