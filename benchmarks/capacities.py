"""What each capacity costs and how often it finds the true pitch, on the generated set of `pitch evaluate`.

    uv run --package pitch python benchmarks/capacities.py [--models tiny,full] [--records DIR] [-o FILE]

Prints a Markdown table, or writes the page of the documentation with it (`-o docs/pitch_capacities.md`). The
speed of a capacity whose weights are not here is taken with random weights: the time is the same.
"""

import argparse
import functools

import torch
from timing import medians

import pitch
from audio_io.atomic import write_text
from audio_io.progress import Progress
from pitch.capacities import CAPACITIES, get_capacity
from pitch.constants import WINDOW_SIZE
from pitch.evaluate import EvaluateConfig, Evaluation, evaluate, generated_set
from pitch.fast import FastCrepe
from pitch.weights import WeightsNotFoundError, find_weights

FRAMES = 128
FRAMES_PER_SECOND = 100
DECODER = "weighted_viterbi"
HEADER = [
    "capacity",
    "parameters",
    "ms a frame",
    "times real time",
    "within 50 cents",
    "clean",
    "20 dB",
    "10 dB",
    "0 dB",
    "median error",
    "false alarms",
]


def speeds(names: list[str], repeats: int) -> dict[str, float]:
    """Milliseconds that the network of each capacity takes for a frame."""
    frames = torch.randn(FRAMES, WINDOW_SIZE)
    networks = {name: FastCrepe(pitch.Crepe(name).eval().requires_grad_(False)) for name in names}
    with torch.inference_mode():
        times = medians(
            {name: functools.partial(network, frames) for name, network in networks.items()}, repeats
        )
    return {name: 1000 * seconds / FRAMES for name, seconds in times.items()}


def without_weights(given: dict[str, str]) -> dict[str, str]:
    """The capacities whose weights are neither here nor given, and what would bring them."""
    missing: dict[str, str] = {}
    for name in CAPACITIES:
        try:
            if name not in given:
                find_weights(name)
        except WeightsNotFoundError as error:
            missing[name] = str(error).removeprefix("model: ")
    return missing


def row(name: str, milliseconds: float, evaluation: Evaluation | None) -> str:
    cells = [f"`{name}`", f"{get_capacity(name).parameters / 1e6:.2f} M", f"{milliseconds:.2f}"]
    cells.append(f"{1000 / FRAMES_PER_SECOND / milliseconds:.0f}")
    system = (name, DECODER)
    if evaluation is None or system not in evaluation.systems:
        return "| " + " | ".join([*cells, *["—"] * (len(HEADER) - len(cells))]) + " |"
    total = evaluation.total(system)
    levels = evaluation.by_group(system, "snr")
    cells += [f"{total.accuracy():.1%}", *(f"{levels[level].accuracy():.1%}" for level in HEADER[5:9])]
    cells += [f"{total.percentile(50):.1f} cents", f"{total.scores().voicing_false_alarm:.1%}"]
    return "| " + " | ".join(cells) + " |"


def page(command: str, conditions: str, table: str, missing: dict[str, str]) -> str:
    notes = "".join(f"\n- `{name}`: {sentence}" for name, sentence in missing.items())
    return f"""\
# The six capacities of pitch

What a capacity costs and what it finds, on sounds that `pitch evaluate` makes: harmonic sounds from 32 to
1,900 Hz, singing and speech-like sounds of exactly known pitch, clean and in white, pink and babble-like
noise. The shares are those of the voiced frames within 50 cents of the true pitch, with the decoder
`{DECODER}`; false alarms are the unvoiced frames that are called voiced.

{table}

{conditions}
{notes}

Written by:

```bash
{command}
```
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", default=",".join(CAPACITIES), help="separated by commas")
    parser.add_argument("--weights", action="append", default=[], metavar="MODEL=FILE")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a clip")
    parser.add_argument("--clips", type=int, default=6, help="clips of a family")
    parser.add_argument("--records", metavar="DIR", help="the records of an earlier run, to continue from")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write the page")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    given = dict(entry.split("=", 1) for entry in options.weights)
    missing = without_weights(given)
    names = [name for name in options.models.split(",") if name not in missing]
    evaluation = None
    if names:
        examples = generated_set(seconds=options.seconds, clips=options.clips)
        with Progress("evaluate", len(examples), "recordings") as progress:
            evaluation = evaluate(
                examples,
                EvaluateConfig(models=",".join(names), decoders=f"raw,{DECODER}"),
                weights=given,
                record_dir=options.records,
                resume=options.records is not None,
                progress=progress,
            )
    costs = speeds(list(CAPACITIES), options.repeats)
    rows = ["| " + " | ".join(HEADER) + " |", "|---" * len(HEADER) + "|"]
    # The speed needs no weights: all capacities are listed.
    rows += [row(name, costs[name], evaluation) for name in CAPACITIES]
    table = "\n".join(rows)
    print(table)
    clips = f"Clips of each family: {options.clips}, of {options.seconds:g} s, each at four levels of noise"
    conditions = (
        f"{clips}. Times: fast engine, {options.threads} thread(s), a frame every 10 ms, torch "
        f"{torch.__version__}; they belong to the machine, their ratios less so."
    )
    for name in CAPACITIES:
        if name not in names:
            missing.setdefault(name, "not evaluated in this run")
    print("\n".join(f"{name}: {sentence}" for name, sentence in missing.items()))
    if options.output is not None:
        command = ["uv run --package pitch python benchmarks/capacities.py"]
        command += [] if options.models == ",".join(CAPACITIES) else [f"--models {options.models}"]
        command += [] if options.clips == 6 else [f"--clips {options.clips}"]
        command += [] if options.seconds == 4 else [f"--seconds {options.seconds:g}"]
        command += [f"-o {options.output}"]
        write_text(options.output, page(" ".join(command), conditions, table, missing))


if __name__ == "__main__":
    main()
