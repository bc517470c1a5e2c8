"""Draws the curves of a report of bench.py, row `scale`: draw.py OUT.svg,
the report on stdin. Runs with what requirements.txt names."""

import json
import sys

import matplotlib
from matplotlib import pyplot

# The same bytes for the same numbers, and text that can be read as such.
matplotlib.rcParams["svg.hashsalt"] = "llm-proxy"
matplotlib.rcParams["svg.fonttype"] = "none"

CURVES = [("per_piece", "CPU per piece, us"),
          ("hold_p99_ms", "hold of a piece, p99, ms"),
          ("rss_mib", "RssAnon, MiB")]


def main():
    report = json.load(sys.stdin)
    row = next(row for row in report["rows"] if row["name"] == "scale")
    figure, axes = pyplot.subplots(1, len(CURVES), figsize=(12, 3.6))
    for axis, (key, title) in zip(axes, CURVES):
        for name, party in row["parties"].items():
            axis.plot([point["streams"] for point in party["points"]],
                      [point[key] for point in party["points"]],
                      marker="o", label=name)
        axis.set_xlabel("open streams, 5 pieces a second each")
        axis.set_title(title)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.suptitle(f"{report['machine']['cpu']}, {report['date']}",
                    fontsize=9)
    figure.tight_layout()
    figure.savefig(sys.argv[1], metadata={"Date": None})


if __name__ == "__main__":
    main()
