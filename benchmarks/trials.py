"""What is each idea of the recipe `context-wide` worth? Run: python benchmarks/trials.py FOLDER [MINUTES] [NAME ...]

Short trainings with equal processor time (3 minutes each, one thread), all from the weights `context-deep`; the rate
falls to zero within that time. data/results/trials_context-wide.json gets the steps and J = (R + λ D) √(0.01 / λ) on
the held-out pictures at four λ. A short trial favours what is quick; read each with its steps.
"""

import dataclasses
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from edu_compress import datasets, evaluation, files, training

RECIPES = Path(__file__).resolve().parents[1] / "data" / "recipes"
LAMBDAS = (0.0004, 0.002, 0.01, 0.05)

SLICED = {"slices": [8, 8, 16, 16, 32, 48, 64, 64]}
PREDICTED = {**SLICED, "L": 96}
WIDE = {**PREDICTED, "N": 96, "N_a": 128}
MORE = {**WIDE, "slices": [8, 8, 16, 16, 32, 48, 64, 128], "M": 320, "gains": 10, "highest": 0.2}
TRIALS = {  # name: (in words, fields of the recipe, fields of its config)
    "base": ("as context-deep", {}, {}),
    "slices": ("eight slices of channels", {}, SLICED),
    "lrp": ("slices, residual predicted", {}, PREDICTED),
    "wide-encoder": ("... and N_a = 128", {}, {**PREDICTED, "N_a": 128}),
    "wide": ("... and N = 96, N_a = 128", {}, WIDE),
    "wide320": ("... and M = 320, λ to 0.2", {}, MORE),
    "rate5e-4": ("slices, prediction; rate 5e-4", {"rate": 5e-4}, PREDICTED),
    "rate2e-4": ("slices, prediction; rate 2e-4", {"rate": 2e-4}, PREDICTED),
    "soft": ("slices, prediction; soft rounding", {"quantiser": "soft"}, PREDICTED),
    "soap": ("slices, prediction; SOAP", {"optimiser": "soap"}, PREDICTED),
}


def main() -> None:
    minutes = float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
    torch.set_num_threads(1)
    pictures, trials = datasets.read_folder(sys.argv[1], progress=True), []
    out = evaluation.results_folder() / "trials_context-wide.json"
    for name in sys.argv[3:] or TRIALS:
        trials.append(run(name, minutes, pictures))
        print(trials[-1])
    text = json.dumps({"command": "python benchmarks/trials.py train_pack", "trials": trials}, indent=1)
    files.write_atomically(out, (text + "\n").encode())


def run(name: str, minutes: float, pictures: datasets.PictureSet) -> dict:
    """Train for so many minutes of processor time, and measure."""
    what, fields, config = TRIALS[name]
    base = training.read_recipe(RECIPES / "context-deep.toml")
    schedule = {"start": "context-deep", "steps": 10**9, "minutes": minutes, "decay": 0.9, "warm_up": 100, "ema": 0.998}
    recipe = dataclasses.replace(base, **schedule, **fields, config={**base.config, **config})
    trainer, begin = training.Trainer(recipe, pictures, torch.device("cpu"), training.Team()), time.process_time()
    while trainer.progress < 1:
        trainer.train_step()
        trainer.minutes = (time.process_time() - begin) / 60
    points = [trainer.task.validation_point(lam) for lam in LAMBDAS]
    points = [{"lam": p["lam"], "estimated_bpp": p["estimated_bpp"], "psnr": p["psnr"], "J": p["loss"]} for p in points]
    J = float(np.mean([p["J"] for p in points]))
    return {"name": name, "what": what, "minutes": minutes, "steps": trainer.step, "J": J, "points": points}


if __name__ == "__main__":
    main()
