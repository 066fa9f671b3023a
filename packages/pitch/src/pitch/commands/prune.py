"""`pitch prune`: a smaller capacity out of a larger one."""

import argparse

from audio_io.settings import add_arguments, from_arguments
from pitch.capacities import CAPACITIES
from pitch.commands.parsers import Commands
from pitch.training.config import PruneConfig

DESCRIPTION = """\
Cut a network down to a smaller capacity: the start of a distillation, not a usable network by itself."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "prune", help="cut a network down to a smaller capacity", description=DESCRIPTION, allow_abbrev=False
    )
    parser.add_argument("--from", dest="source", default="full", choices=CAPACITIES, help="(default: full)")
    parser.add_argument("--to", default="regular", choices=CAPACITIES, help="(default: regular)")
    parser.add_argument("--weights", metavar="FILE", help="weights of the larger network, if not its own")
    parser.add_argument(
        "--audio", nargs="+", default=(), metavar="PATH", help="recordings to measure on, too"
    )
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="where to write, a .pth file")
    add_arguments(parser, PruneConfig)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`pitch prune`."""
    from pitch.training.labelled import measuring_frames
    from pitch.training.prune import prune
    from pitch.training.recordings import Recordings
    from pitch.weights import load_model, save_weights

    config = from_arguments(PruneConfig, arguments)
    network = load_model(arguments.source, weights=arguments.weights)
    recordings = Recordings(arguments.audio) if arguments.audio else None
    result = prune(
        network,
        arguments.to,
        criterion=config.criterion,
        frames=measuring_frames(config.frames, config.seed, recordings),
        compensate=config.compensate,
        reestimate=config.reestimate,
    )
    save_weights(result.network, arguments.output)
    print(f"{arguments.source} to {arguments.to} by {config.criterion}: wrote {arguments.output}")
    for number, kept in enumerate(result.kept, start=1):
        width = network.capacity.channels[number - 1]
        explained = (
            "" if result.explained is None else f", {result.explained[number - 1]:.1%} of its power explained"
        )
        print(f"  layer {number}: {len(kept)} of {width} channels{explained}")
    print(f"  next    pitch distill --student {arguments.to} --start {arguments.output} -o DIR")
    return 0
