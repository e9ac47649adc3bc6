"""Fits the surrogates that come with edgetran on the published measurements."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgetran_host.surrogates.rows import read_rows
from edgetran_host.surrogates.shipped import FOLDER, bare
from edgetran_host.surrogates.storing import save
from edgetran_host.surrogates.surrogate import fit_surrogate

SETS = {  # the larger campaign of each unit
    "a100.gpu": "campaign-2022-04/gpu-a100-template.json",
    "rpi4.cpu": "campaign-2022-04/cpu-rpi4.json",
    "m1.gpu": "campaign-2022-04/gpu-m1-pro.json",
    "m1.cpu": "campaign-2022-04/cpu-m1-pro.json",
    "jetson-nano.cpu": "campaign-2022-04/cpu-jetson-nano.json",
    "jetson-nano.gpu": "gpu-jetson-nano.json",
    "ncs2.npu": "npu-ncs2.json",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the published measurements")
    data = parser.parse_args().data
    for name, file in SETS.items():
        save(bare(fit_surrogate(read_rows([data / file]))), FOLDER / f"{name}.json")
        print(name, flush=True)


if __name__ == "__main__":
    main()
