"""`mri2speech phantom`: films of a vocal tract with exactly known sound."""

import argparse
from pathlib import Path

from audio_io.settings import add_arguments, from_arguments
from mri2speech.commands.parsers import Commands
from mri2speech.phantom.config import PhantomConfig

DESCRIPTION = """\
Make a corpus of films and speech from an articulatory model: a moving midsagittal section and the sound of
its own area function, with pitch, formants, areas and articulators known for every frame.

Written are videos/<ID>.avi (lossless, with sound), audio/<ID>.wav, truth/<ID>.npz and corpus.json, as
`mri2speech preprocess --data-dir DIR/videos --audio-dir DIR/audio` takes them, and phantom.png, to be looked
at. A run that was interrupted goes on where it was."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "phantom",
        help="make films of a vocal tract with exactly known sound",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="where to write the corpus"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    parser.add_argument(
        "--browser", action="store_true", help="write the films as H.264 and AAC too, which browsers play"
    )
    add_arguments(parser, PhantomConfig)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`mri2speech phantom`."""
    config = from_arguments(PhantomConfig, arguments)
    from mri2speech.phantom.anatomy import reference_speaker
    from mri2speech.phantom.corpus import utterance
    from mri2speech.phantom.figure import draw
    from mri2speech.phantom.writer import plans, write_corpus

    folder: Path = arguments.output
    ids = write_corpus(folder, config, workers=arguments.workers, browser=arguments.browser)
    draw(folder / "phantom.png", reference_speaker(), utterance(next(plans(config))))
    print(f"wrote {len(ids)} utterances of {config.speakers} speakers to {folder}, {folder / 'phantom.png'}")
    return 0
