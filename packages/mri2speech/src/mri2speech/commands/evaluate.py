"""`mri2speech evaluate`: measure a model's speech."""

import argparse
import sys
from pathlib import Path

from audio_io import cli
from audio_io.settings import add_arguments, from_arguments
from mri2speech.commands.parsers import Commands
from mri2speech.evaluate.config import EvaluateConfig
from mri2speech.vocoder import EMBEDDED

DESCRIPTION = """\
Measure the speech that a model makes of films against their recordings: formants, mel-cepstral distortion,
mel error by band, pitch and voicing, STOI and ESTOI (PESQ where the package pesq is installed),
real-time factor; beside it the recording's own mels through the vocoder, and the answer "always the mean".

OUT holds metrics.json, metrics.csv (a row for each utterance and voice) and index.html, with players. The
split is that of the training (split.json beside the checkpoint); without one, or where it is of another data
set, every utterance is measured."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a model's speech",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="preprocessed data set")
    parser.add_argument(
        "--acoustic", type=Path, required=True, metavar="FILE", help="acoustic model, best.pt"
    )
    parser.add_argument("--vocoder", default=EMBEDDED, metavar="FILE", help="(default: embedded)")
    parser.add_argument("--scaler", type=Path, metavar="FILE", help="scaler.json instead of the model's own")
    parser.add_argument("--split", type=Path, metavar="FILE", help="split.json (default: beside --acoustic)")
    parser.add_argument("--truth", type=Path, metavar="DIR", help="truth folder of a phantom")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="where to write")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    add_arguments(parser, EvaluateConfig)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`mri2speech evaluate`."""
    config = from_arguments(EvaluateConfig, arguments)
    from mri2speech.evaluate.page import write_page
    from mri2speech.evaluate.runner import evaluate, summary, write
    from mri2speech.meta import Meta
    from mri2speech.splits import Split
    from mri2speech.synthesize import Synthesizer

    split = arguments.split
    if split is None and (beside := arguments.acoustic.parent / "split.json").is_file():
        if Split.load(beside).belongs_to(Meta.load(arguments.data)):
            split = beside
        else:
            text = f"{beside} is of another data set; every utterance of {arguments.data} is measured"
            print(f"mri2speech: note: {text}", file=sys.stderr)
    device = cli.pick_device(arguments.device)
    synthesizer = Synthesizer.load(
        arguments.acoustic, arguments.vocoder, scaler=arguments.scaler, device=device
    )
    result = evaluate(arguments.data, synthesizer, config, split=split, truth=arguments.truth)
    write(result, arguments.output)
    write_page(arguments.output / "index.html", result, synthesizer.mel_config)
    print(summary(result.means))
    print(f"wrote {arguments.output / 'index.html'}")
    return 0
