"""The result of the speed benchmark as text, and as the Markdown tables of docs/performance.md."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from benchmarks.machine import describe
from benchmarks.rows import Row, format_table
from benchmarks.timing.camera import INTERVAL_S, camera_lines
from benchmarks.timing.demands import command_s, demand_lines, spent_s, writer_s
from benchmarks.timing.disk import night_gb

Result = Mapping[str, Any]
HEAD = ("core s", "budget", "bound", "FFT s", "wall s", "GB moved", "peak GB", "calls")
NUMBERS = (
    ("core_s", ".3f"), ("budget_s", ".1f"), ("bound_s", ".3f"), ("transforms_s", ".3f"), ("wall_s", ".3f"),
    ("touched_gb", ".2f"), ("peak_gb", ".2f"),
)  # fmt: skip
WIDTHS = (8, 8, 8, 8, 8, 10, 9, 7)


def goal_rows(result: Result) -> list[Row]:
    """The goals beside what was measured; parts that were not measured have no row."""
    return [
        row for make in (_quadrant_goals, _start_goals, _scaling_goals, _night_goals) for row in make(result)
    ]


def _quadrant_goals(result: Result) -> Iterator[Row]:
    for name, sky, limit in (("quadrant", "usual", 8.0), ("crowded", "crowded", 16.0)):
        if name in result:
            yield Row("quadrant, core-s", sky, result[name]["core_seconds"], high=limit)
            yield Row("peak memory, GB", sky, result[name]["peak_gb"], high=2.0)
    if "quadrant" in result:
        ratio = result["quadrant"]["subtract_over_transforms"]
        yield Row("subtraction over its transforms alone", "usual", ratio, high=2.0)
        yield Row("packets a core-second", "usual", result["packets_per_second"], low=800.0)
    for chain in result.get("chains", ()):
        if chain["ratio"] is not None:
            yield Row(f"times faster than the {chain['name']}", "usual", chain["ratio"], low=5.0)


def _start_goals(result: Result) -> Iterator[Row]:
    if "startup" in result:
        yield Row("cold worker ready, s", "tiny", result["startup"]["ready_s"], high=5.0)
        yield Row("cold worker ready, core-s", "tiny", result["startup"]["ready_core_s"], high=5.0)
        yield Row("zsds --help, s", "", result["startup"]["help_s"], high=0.5)
        yield Row("zsds --help, core-s", "", result["startup"]["help_core_s"], high=0.5)


def _scaling_goals(result: Result) -> Iterator[Row]:
    if "two_workers" in result:
        two = result["two_workers"]
        yield Row("two workers, time over that of one", "usual", two["wall_ratio"], high=1.1)
        yield Row("two workers, core-s over that of one", "usual", two["core_ratio"], high=1.1)
    if "dask" in result:
        yield Row("Dask, core-s over those of its units", "usual", result["dask"]["core_ratio"], high=1.02)
        yield Row("Dask, time over that of its units", "usual", result["dask"]["wall_ratio"], high=1.02)
    if "memory" in result:
        grown, n = result["memory"]["growth"], result["memory"]["n"]
        yield Row("memory, growth in one worker", "tiny", grown, high=0.02, n=n)
    for way, cost in result.get("scheduling", {}).items():
        name = f"units handed out {way}"
        yield Row(f"{name}, core-ms each of the command", "nothing", cost["core_ms"], high=10.0, n=cost["n"])
        yield Row(f"{name}, ms each", "nothing", cost["wall_ms"], n=cost["n"])
        yield Row(
            f"{name}, MB of the command for all", "nothing", cost["memory_mb"], high=1000.0, n=cost["n"]
        )


def _night_goals(result: Result) -> Iterator[Row]:
    """Of a night of the camera; a quarter of the time between exposures leaves a margin of four."""
    if "night" in result:
        stages, n = result["night"]["stages"], result["night"]["units"]
        for name in ("zsds status", "zsds serve, a page"):
            yield Row(f"{name}, core-s", "a night", stages[name]["core_s"], high=1.0, n=n)
        yield Row(
            "planning a night, MB of the command", "a night", result["night"]["memory_mb"], high=500.0, n=n
        )
    if "night" in result and "database" in result:
        quarter = INTERVAL_S / 4
        yield Row("the command, core-s an exposure", "a night", command_s(result), high=quarter)
        yield Row("SQLite's one writer, s an exposure", "a night", writer_s(result), high=quarter)
    if "database" in result:
        sizes = {int(size): spent_s(spent) for size, spent in result["database"]["sizes"].items()}
        ratio = sizes[max(sizes)] / sizes[min(sizes)]
        name = f"database, core-s with {max(sizes):.0e} detections over those with {min(sizes):.0e}"
        yield Row(name, "a night", ratio, high=1.3)
    if "disk" in result:
        grown = result.get("database", {}).get("bytes", 0.0)
        yield Row("disk, TB a night", "a night", sum(night_gb(result["disk"], grown).values()) / 1000)


def table(result: Result) -> str:
    """The whole result as text."""
    parts = [format_table(goal_rows(result))]
    if "quadrant" in result:
        parts.append(steps_text(result))
    if "peers" in result:
        parts.append("\n".join(peer_lines(result)))
    if "camera" in result:
        parts.append("\n".join(camera_lines(result["camera"])))
    if result.get("demands"):
        parts.append("\n".join(demand_lines(result["demands"])))
    parts.append(f"machine: {describe(result['machine'])}")
    profile = [
        f"{row['own_s']:>8.3f}{row['all_s']:>8.3f}{row['calls']:>9}  {row['function']}"
        for row in result.get("profile", ())
    ]
    return "\n\n".join(parts + (["\n".join(profile)] if profile else []))


def steps_text(result: Result) -> str:
    """Every step of the quadrant, and what was found on it."""
    lines = [f"{'step':<46}" + "".join(f"{h:>{w}}" for h, w in zip(HEAD, WIDTHS, strict=True))]
    for part in result["steps"]:
        lines.append(_line(part["name"], part))
        lines += [_line(f"    {step['name']}", step) for step in part.get("steps", ())]
    quadrant, floors = result["quadrant"], result["machine"]
    lines.append(_line("whole quadrant, warm", _whole(result)))
    found = ", ".join(f"{name.removeprefix('n_')} {count}" for name, count in result["found"].items())
    rates = ", ".join(f"{name} {rate:.0f}" for name, rate in result["packets"].items())
    return "\n".join([
        *lines,
        f"found: {found}; first quadrant of a process: {quadrant['cold_core_s']:.2f} core-s",
        f"packets a core-second (cutouts, 30 records of history): {rates}",
        f"floors: rfft2 {floors['rfft2_s']:.3f} s, irfft2 {floors['irfft2_s']:.3f} s, "
        f"memory pass {floors['memory_pass_s']:.4f} s (3080 x 3072, float32)",
    ])  # fmt: skip


def _whole(result: Result) -> dict[str, Any]:
    quadrant = result["quadrant"]
    bounds = [part["bound_s"] for part in result["steps"] if part["bound_s"] is not None]
    return {"core_s": quadrant["core_seconds"], "bound_s": sum(bounds), **quadrant}


def _line(name: str, row: Mapping[str, Any]) -> str:
    cells = [_number(row.get(key) or None, form) for key, form in NUMBERS] + [str(row.get("calls", ""))]
    return f"{name:<46}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True))


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def peer_lines(result: Result) -> list[str]:
    """Each public tool beside our steps."""
    lines = [f"{'peer':<30}{'core s':>8}{'ours':>8}{'ratio':>8}  our steps; note"]
    for row in result["peers"]:
        seconds, ratio = _number(row["seconds"], ".2f"), _number(row["ratio"], ".1f")
        what = "; ".join(filter(None, (", ".join(row["steps"]), row["note"])))
        lines.append(f"{row['peer']:<30}{seconds:>8}{row['ours_s']:>8.2f}{ratio:>8}  {what}")
    return lines


def markdown(result: Result) -> str:
    """The tables of docs/performance.md."""
    makers = {"quadrant": _steps_markdown, "peers": _peers_markdown, "camera": _camera_markdown}
    parts = [_goals_markdown(goal_rows(result))]
    parts += [make(result) for name, make in makers.items() if name in result]
    return "\n".join(parts)


def _goals_markdown(rows: Iterable[Row]) -> str:
    lines = ["| what | on | measured | goal |", "|---|---|---|---|"]
    for row in rows:
        value = f"**{row.value:.3g}**" if row.passed is False else f"{row.value:.3g}"
        lines.append(f"| {row.name} | {row.sky} | {value} | {row.goal} |")
    return "\n".join(lines) + "\n"


def _steps_markdown(result: Result) -> str:
    lines = [
        "| step | core-s | budget | bound | in transforms | wall s | GB moved | peak GB |",
        "|---" * 8 + "|",
    ]
    rows = [row for part in result["steps"] for row in ({**part, "is_part": True}, *part.get("steps", ()))]
    rows.append({"name": "whole quadrant, warm", "is_part": True, **_whole(result)})
    for row in rows:
        name = f"**{row['name']}**" if row.get("is_part") else f"  {row['name']}"
        cells = (_number(row.get(key) or None, form) for key, form in NUMBERS)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _peers_markdown(result: Result) -> str:
    lines = ["| public tool | core-s | ours | ratio | our steps | remark |", "|---" * 6 + "|"]
    for row in result["peers"]:
        cells = (
            row["peer"], _number(row["seconds"], ".2f"), f"{row['ours_s']:.2f}", _number(row["ratio"], ".1f"),
            ", ".join(row["steps"]), row["note"],
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    for chain in result.get("chains", ()):
        seconds, ratio = _number(chain["seconds"], ".1f"), _number(chain["ratio"], ".1f")
        programs = " + ".join(chain["chain"])
        lines.append(
            f"| **{chain['name']}**: {programs} | {seconds} | {chain['ours_s']:.1f} | **{ratio}** | all | |"
        )
    return "\n".join(lines) + "\n"


def _camera_markdown(result: Result) -> str:
    lines = [
        "| the camera on 16 cores | quadrants an hour | cores busy | median, s | 95 %, s | longest, s "
        "| cores for 60 s |",
        "|---" * 7 + "|",
    ]
    for name, case in result["camera"].items():
        cells = (
            name, f"{case['per_hour']:.0f}", f"{case['utilisation']:.0%}",
            *(f"{case[key]:.0f}" for key in ("median_s", "p95_s", "worst_s", "fewest_cores")),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
