"""Scores the published calibrations of the catalogue on the rows of the study."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from edgetran_devices import load_board, predict_published

SETS = [  # board, unit, calibration, file
    ("a100", "gpu", "protran-2022", "campaign-2022-04/gpu-a100-template.json"),
    ("rpi4", "cpu", "protran-2022", "campaign-2022-04/cpu-rpi4.json"),
    ("m1", "gpu", "protran-2022", "campaign-2022-04/gpu-m1-pro.json"),
    ("jetson-nano", "cpu", "protran-2022", "campaign-2022-04/cpu-jetson-nano.json"),
    ("m1", "cpu", "protran-2022", "campaign-2022-04/cpu-m1-pro.json"),
    ("jetson-nano", "cpu", "protran-2022-main", "cpu-jetson-nano.json"),
    ("ncs2", "npu", "protran-2022", "npu-ncs2.json"),
    ("jetson-nano", "gpu", "protran-2022", "gpu-jetson-nano.json"),
]
LINE = "{:<16} {:<18} {:>5} {:>9} {:>9} {:>7} {:>9} {:>11}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the published measurements")
    data = parser.parse_args().data
    print("mean absolute percentage errors; inside: share of latencies within the error bar")
    print(
        LINE.format(
            *("unit", "calibration", "rows", "latency %", "energy %", "peak %", "inside %"),
            "confidence",
        )
    )
    for board, unit, name, file in SETS:
        rows = json.loads((data / file).read_bytes())
        calibration = load_board(board).units[unit].calibrations[name]
        found = [predict_published(calibration, row["architecture"]) for row in rows]
        foretold = np.array([[one.latency_s, one.energy_j, one.peak_power_w] for one in found])
        keys = ("latency_s", "energy_j", "peak_power_w")
        measured = np.array([[row[key] for key in keys] for row in rows])
        errors = [f"{100 * error:.1f}" for error in np.abs(foretold / measured - 1).mean(axis=0)]
        bars = np.array([one.interval(one.latency_s, one.relative_error) for one in found])
        inside = (bars[:, 0] <= measured[:, 0]) & (measured[:, 0] <= bars[:, 1])
        share = f"{100 * inside.mean():.0f}"
        unit_name = f"{board}:{unit}"
        print(LINE.format(unit_name, name, len(rows), *errors, share, calibration.confidence))


if __name__ == "__main__":
    main()
