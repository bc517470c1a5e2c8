"""How a run's rows look as a table: one line of cells for each kind."""

from dataclasses import dataclass
from typing import Callable

from parties import DAEMON, DIRECT, HAPROXY, LITELLM, NGINX, PYTHON

COLUMNS = ["CPU per request", "nginx, us", "HAProxy, us", "llm-proxyd, us",
           "ratio to nginx", "target", "budget"]


def spread_text(part, digits=1):
    return (f"{part['median']:.{digits}f} "
            f"({part['min']:.{digits}f}-{part['max']:.{digits}f})")


def ratio_text(parties):
    return spread_text(parties[DAEMON]["ratio"], 2)


def reference_text(parties):
    return ratio_text(parties) + "".join(
        f"; {name} {parties[name]['ratio']['median']:.0f} "
        f"({parties[name]['median']:.0f} us)"
        for name in (PYTHON, LITELLM) if name in parties)


def over_text(party):
    return ", ".join(f"{over['median']:+.1%}" for over in party["over"])


def latency_text(party):
    return (f"p50 {party['p50']['median']:+.0f}, "
            f"p99 {party['p99']['median']:+.0f}")


def redis_text(party):
    return (f"{party['cpu']['median']:+.1f} at {party['rate']:.0f}/s; "
            + latency_text(party))


def ms_text(us):
    return f"{us / 1000:.1f} ms"


def times_text(party):
    return ", ".join(ms_text(party[key]["median"]) for key in ("hold", "leave"))


def scale_text(party):
    last = party["points"][-1]
    return (f"{last['streams']}: {last['per_piece']:.1f} "
            f"({last['in_time']:.1%} in time)")


def scale_ratio(parties):
    return ", ".join(
        f"{ours['per_piece'] / base['per_piece']:.2f}" for ours, base in
        zip(parties[DAEMON]["points"], parties[NGINX]["points"]))


@dataclass
class Kind:
    """What a row of one kind shows: of a party, of the ratio of its parties,
    as its budget (None: the row's own target and budget, which are ratios)."""
    text: Callable = spread_text
    ratio: Callable = None
    budget: Callable = None


KINDS = {
    "cost": Kind(ratio=ratio_text),
    "latency": Kind(latency_text, budget="p50 <= {}, p99 <= {}".format),
    "memory": Kind(
        lambda party: f"{party['start']} KiB, {party['per_stream']:.1f} KiB",
        budget="<= {} KiB, <= {} KiB".format),
    "turns": Kind(lambda party: ms_text(party["turn"]),
                  budget=lambda us: f"<= {us / 1000:.0f} ms"),
    "mixed": Kind(lambda party: f"turn {ms_text(party['turn'])}, "
                                f"round {ms_text(party['round'])}",
                  budget=lambda us: f"turn <= {us / 1000:.0f} ms"),
    "times": Kind(times_text, budget=lambda held, left:
                  f"<= {held / 1000:.0f} ms, <= {left / 1000:.0f} ms"),
    "proof": Kind(lambda party: f"{party['median']:.0f}/s",
                  lambda parties: f"{parties[DIRECT]['median']:.0f}/s"),
    "scale": Kind(scale_text, scale_ratio),
    "embeddings": Kind(
        lambda party: ms_text(party["translate"]),
        lambda parties: "{:.2f}".format(
            parties[DAEMON]["translate"] / parties[DAEMON]["parse"])),
    "oracle": Kind(lambda party: f"{party['median']:.0f}/s", ratio_text),
    "decision": Kind(lambda party: f"{party['decision']:.2f}",
                     budget="<= {}".format),
    "redis": Kind(redis_text, budget="CPU <= {}".format),
    "reference": Kind(ratio=reference_text),
    "spread": Kind(over_text, budget="<= {:.0%}, {:.0%}".format),
    "crowd": Kind(over_text, budget="<= {:.0%}".format),
    "idle": Kind(
        lambda party: f"{party['per_client']:.1f} KiB, {party['busy']:.2%}",
        budget="<= {} KiB, <= {:.1%}".format),
    "start": Kind(lambda party: ms_text(party["median"]),
                  budget=lambda us: f"<= {us / 1000:.0f} ms"),
    "reload": Kind(
        lambda party: f"{ms_text(party['median'])}, "
                      f"turn {ms_text(party['turn'])}",
        budget=lambda us, turn: f"<= {us / 1000:.0f} ms, "
                                f"turn <= {turn / 1000:.0f} ms"),
}


def limit_text(limit):
    return f"<= {limit:.1f}" if limit is not None else ""


def cells(row):
    """The table's line of one row."""
    parties = row.get("parties", {})
    limits = [limit_text(row["target"]), limit_text(row["ratio_budget"])]
    for trouble in ("failed", "disturbed"):
        if trouble in row:
            return [row["title"], "", "", "",
                    f"{trouble}: {row[trouble]}"] + limits
    kind = KINDS[row["kind"]]
    if kind.budget:
        budget = row["budget"]
        limits = ["", kind.budget(*(budget if isinstance(budget, (list, tuple))
                                    else [budget]))]
    return ([row["title"]]
            + [kind.text(parties[name]) if name in parties else ""
               for name in (NGINX, HAPROXY, DAEMON)]
            + [kind.ratio(parties) if kind.ratio else ""] + limits)


def table(rows, markdown):
    lines = [COLUMNS] + [cells(row) for row in rows]
    if markdown:
        lines.insert(1, ["---"] + ["---:"] * (len(COLUMNS) - 1))
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)
    # A sentence about a row without a number is wider than its column.
    widths = [max(len(line[i]) for line in lines if any(line[1:4]) or i == 0)
              for i in range(len(COLUMNS))]
    shown = [line if any(line[1:4]) else [line[0], line[4]]
             for line in lines]
    return "\n".join("  ".join(
        cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
        for line in shown)
