"""What bench/run makes of its measurements: rows with medians, spread and ratios,
a table, JSON, and plots."""

import json
import os
from dataclasses import asdict, dataclass, replace
from html import escape
from statistics import median

# --- rows ------------------------------------------------------------------------


@dataclass(frozen=True)
class Mark:
    """What the broker has to reach; one of these."""

    ratio: float = None  # at most so many times the reference
    most: float = None  # at most this
    least: float = None  # at least this
    more: float = None  # at most so much more than the reference
    noise: float = None  # at most so many times the reference, or its worst round

    def text(self, unit):
        unit = f" {unit}" if unit else ""
        if self.ratio is not None:
            return f"<= {self.ratio:g} x"
        if self.most is not None:
            return f"<= {self.most:g}{unit}"
        if self.least is not None:
            return f">= {self.least:g}{unit}"
        if self.noise is not None:
            return "within noise"
        return f"<= +{self.more:g}{unit}"

    def limit(self, reference):
        """The same as a value in the row's unit. `reference` is its spread, or None."""
        if self.most is not None or self.least is not None:
            return self.most if self.most is not None else self.least
        if reference is None:
            return None
        if self.ratio is not None:
            return self.ratio * reference[1]
        if self.noise is not None:
            return max(self.noise * reference[1], reference[2])
        return self.more + reference[1]

    def used(self, value, ratio, reference):
        """1 is the mark itself, less is better."""
        if self.ratio is not None:
            return ratio / self.ratio if ratio is not None else None
        limit = self.limit(reference)
        if limit is None or not value:
            return None
        return limit / value if self.least is not None else value / limit


@dataclass(frozen=True)
class Row:
    what: str
    unit: str
    figure: str  # of bond-bench
    mark: Mark = None
    reference: str = None  # a variant; None: the scenario's other one
    scale: float = 1

    def with_mark(self, **mark):
        return replace(self, mark=Mark(**mark))

    def of(self, figures):
        if self.figure not in figures:
            return "-"
        return f"{number(figures[self.figure] * self.scale)} {self.unit}"


def number(value):
    if value is None:
        return "-"
    for digits, least in ((0, 100), (1, 10), (2, 1)):
        if abs(value) >= least:
            return f"{value:,.{digits}f}"
    return f"{value:.3f}"


def samples_of(runs, variant, row):
    """By round: {0: 1.95, 1: 2.01}."""
    return {
        run["round"]: run["figures"][row.figure] * row.scale
        for run in runs
        if run["variant"] == variant and row.figure in run["figures"]
    }


def spread(values):
    values = list(values)
    return [min(values), median(values), max(values)] if values else None


def compare(row, runs):
    """A row's result. Ratios are taken within a round, and their median is what counts."""
    variants = {run["variant"] for run in runs}
    others = sorted(variants - {"broker"})
    reference = row.reference or ("floor" if "floor" in others else others[0] if others else None)
    broker = samples_of(runs, "broker", row)
    beside = samples_of(runs, reference, row) if reference else {}
    ratios = [broker[r] / beside[r] for r in broker if beside.get(r)]
    result = {
        "what": row.what,
        "unit": row.unit,
        "reference": reference if beside else None,
        "reference_samples": list(beside.values()),
        "broker_samples": list(broker.values()),
        "reference_spread": spread(beside.values()),
        "broker_spread": spread(broker.values()),
        "ratio_spread": spread(ratios),
        "mark": {k: v for k, v in asdict(row.mark).items() if v is not None} if row.mark else None,
    }
    if row.mark and broker:
        used = row.mark.used(
            median(broker.values()),
            median(ratios) if ratios else None,
            spread(beside.values()),
        )
        result["mark_used"] = used
        result["met"] = used <= 1 if used is not None else None
    return result


# --- results ---------------------------------------------------------------------


class Results:
    """What is in bench/results/: one scenario's run replaces only that scenario."""

    def __init__(self, directory):
        self.directory = directory
        self.scenarios = {}
        file = directory / "results.json"
        if file.exists():
            self.scenarios = json.loads(file.read_text())["scenarios"]

    def add(self, name, title, rows, runs, notes, about):
        self.scenarios[name] = {
            "title": title,
            "about": about,
            "rows": [compare(row, runs) for row in rows] if runs else [],
            "notes": notes,
            "runs": runs,
        }

    def write(self, order):
        self.directory.mkdir(parents=True, exist_ok=True)
        self.scenarios = {n: self.scenarios[n] for n in order if n in self.scenarios}
        self.write_file("results.json", json.dumps({"scenarios": self.scenarios}, indent=1) + "\n")
        self.write_file("table.md", self.markdown())
        for name, scenario in self.scenarios.items():
            if any(row["broker_spread"] for row in scenario["rows"]):
                self.write_file(f"{name}.svg", scenario_plot(name, scenario))
        self.write_file("marks.svg", marks_plot(self.scenarios))

    def write_file(self, name, text):
        temp = self.directory / f"{name}.tmp"
        temp.write_text(text)
        os.replace(temp, self.directory / name)

    def cells(self, names):
        for name in names:
            scenario = self.scenarios[name]
            for result in scenario["rows"]:
                yield name, cells_of(result)
            for note in scenario["notes"]:
                yield name, [note.split("\n")[0]]

    def table(self, names):
        rows = [(name, cells) for name, cells in self.cells(names)]
        full = [[name, *cells] for name, cells in rows if len(cells) > 1]
        widths = [max(len(line[i]) for line in [HEADINGS, *full]) for i in range(len(HEADINGS))]
        lines = ["  ".join(h.ljust(w) for h, w in zip(HEADINGS, widths))]
        for name, cells in rows:
            if len(cells) == 1:
                lines.append(f"{name.ljust(widths[0])}  ! {cells[0]}")
            else:
                lines.append("  ".join(c.ljust(w) for c, w in zip([name, *cells], widths)).rstrip())
        return "\n".join(lines)

    def markdown(self):
        lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
        for name, cells in self.cells(self.scenarios):
            if len(cells) > 1:
                lines.append("| " + " | ".join([name, *cells]) + " |")
        lines += ["", "Medians (least .. most) of the rounds; ratios are taken within a round.", ""]
        abouts = {json.dumps(s["about"]["machine"]): s["about"] for s in self.scenarios.values()}
        lines += [f"- {describe(about)}" for about in abouts.values()]
        return "\n".join(lines) + "\n"


HEADINGS = ["scenario", "what", "reference", "broker", "ratio", "mark", ""]


def describe(about):
    m = about["machine"]
    virtual = ", virtual" if m["virtual"] else ""
    return (
        f"{m['processor']}, {m['processors']} processors{virtual}, {m['memory_gib']:g} GiB, Linux {m['kernel']}, "
        f"Redis {m['redis']}, {m['compiler']}; {m['broker']} ({m['commit']}), {about['when']}, "
        f"{about['rounds']} rounds of {about['duration_s']:g} s"
    )


def with_spread(s, unit=""):
    if s is None:
        return "-"
    text = f"{number(s[1])} {unit}".strip()
    return text if s[0] == s[2] else f"{text} ({number(s[0])} .. {number(s[2])})"


def cells_of(result):
    mark = Mark(**result["mark"]) if result["mark"] else None
    reference = "-"
    if result["reference"]:
        reference = f"{result['reference']}: {with_spread(result['reference_spread'], result['unit'])}"
    return [
        result["what"],
        reference,
        with_spread(result["broker_spread"], result["unit"]),
        with_spread(result["ratio_spread"]),
        mark.text(result["unit"]) if mark else "",
        {True: "met", False: "MISSED", None: ""}[result.get("met")],
    ]


# --- plots -----------------------------------------------------------------------

INK, FAINT, GRID = "#24292f", "#6e7781", "#d8dee4"
REFERENCE, GOOD, BAD = "#9aa7b4", "#2f7d5b", "#c2553a"
WIDTH, LEFT, RIGHT = 760, 150, 110
BAR, STEP = 20, 27


class Drawing:
    def __init__(self, height, title):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:g}" '
            f'viewBox="0 0 {WIDTH} {height:g}" role="img" font-family="system-ui, sans-serif" font-size="13">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{WIDTH}" height="{height:g}" fill="#ffffff"/>',
        ]

    def text(self, x, y, text, anchor="start", fill=INK, size=13, weight="normal"):
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" font-size="{size}" '
            f'font-weight="{weight}">{escape(text)}</text>'
        )

    def bar(self, x, y, width, fill):
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{BAR}" rx="2" fill="{fill}"/>'
        )

    def line(self, x1, y1, x2, y2, stroke, width=1, dash=""):
        dash = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'stroke="{stroke}" stroke-width="{width}"{dash}/>'
        )

    def dot(self, x, y):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="{INK}" fill-opacity="0.55"/>')

    def done(self):
        return "\n".join([*self.parts, "</svg>", ""])


def scenario_plot(name, scenario):
    """For each row: a bar for the reference, one for the broker, a line for the mark.
    Bars are medians, dots are rounds."""
    rows = [r for r in scenario["rows"] if r["broker_spread"]]
    bars = sum(2 if r["reference_spread"] else 1 for r in rows)
    d = Drawing(58 + 34 * len(rows) + STEP * bars, scenario["title"])
    d.text(16, 26, name, size=16, weight="600")
    d.text(WIDTH - 16, 26, scenario["title"], anchor="end", fill=FAINT)
    y = 48
    for row in rows:
        y = row_plot(d, row, y)
    return d.done()


def row_plot(d, row, y):
    mark = Mark(**row["mark"]) if row["mark"] else None
    reference, broker = row["reference_spread"], row["broker_spread"]
    limit = mark.limit(reference) if mark else None
    most = max([broker[2], reference[2] if reference else 0, limit or 0]) or 1
    scale = (WIDTH - LEFT - RIGHT) / most

    d.text(16, y + 14, row["what"], weight="600")
    top = y + 22
    y = top
    bars = [(row["reference"], reference, row["reference_samples"], REFERENCE)] if reference else []
    bars.append(("broker", broker, row["broker_samples"], BAD if row.get("met") is False else GOOD))
    for label, spread_, samples, fill in bars:
        d.text(LEFT - 8, y + 15, label, anchor="end", fill=FAINT)
        d.bar(LEFT, y, spread_[1] * scale, fill)
        for sample in samples:
            d.dot(LEFT + sample * scale, y + BAR / 2)
        d.text(WIDTH - 16, y + 15, f"{number(spread_[1])} {row['unit']}".strip(), anchor="end")
        y += STEP
    if limit is not None:
        x = LEFT + limit * scale
        d.line(x, top - 5, x, y - 2, INK, 1.5, "4 3")
        d.text(x, top - 9, f"mark {mark.text(row['unit'])}", anchor="end" if x > WIDTH / 2 else "start", size=11)
    return y + 12


def marks_plot(scenarios):
    """All marks on one scale: how much of each is used. Left of the line is met."""
    rows = [
        (name, row)
        for name, scenario in scenarios.items()
        for row in scenario["rows"]
        if row.get("mark_used") is not None
    ]
    clip, left, right = 2.0, 250, 150
    scale = (WIDTH - left - right) / clip
    d = Drawing(84 + STEP * len(rows), "how much of each mark is used")
    d.text(16, 26, "Marks", size=16, weight="600")
    d.text(WIDTH - 16, 26, "share of the mark that is used: at most 100 % is met", anchor="end", fill=FAINT)
    bottom = 58 + STEP * len(rows)
    for percent in (0, 50, 150, 200):
        x = left + percent / 100 * scale
        d.line(x, 44, x, bottom, GRID)
        d.text(x, bottom + 16, f"{percent} %", anchor="middle", fill=FAINT, size=11)
    y = 50
    for name, row in rows:
        used = row["mark_used"]
        d.text(left - 8, y + 15, f"{name}, {row['what']}", anchor="end", fill=FAINT, size=12)
        d.bar(left, y, min(used, clip) * scale, GOOD if row["met"] else BAD)
        mark = Mark(**row["mark"]).text(row["unit"])
        mark = mark.replace("within ", "")
        d.text(WIDTH - 16, y + 15, f"{used:.0%} of {mark}", anchor="end", size=12)
        y += STEP
    x = left + scale
    d.line(x, 40, x, bottom, INK, 1.5, "4 3")
    d.text(x, bottom + 16, "100 %", anchor="middle", size=11, weight="600")
    return d.done()
