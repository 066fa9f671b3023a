"""`pitch weights`: which weights are here, and fetching the official ones."""

import argparse

from audio_io.errors import ConfigError
from pitch.capacities import CAPACITIES
from pitch.commands.parsers import Commands


def add_command(commands: Commands) -> None:
    """Add the parser."""
    weights = commands.add_parser("weights", help="list the weights on this machine, fetch official ones")
    actions = weights.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="which weights are here, from where, under which licence")
    listing.set_defaults(command=run_list)
    fetch = actions.add_parser("fetch", help="download official weights, verify and convert them")
    fetch.add_argument("name", help="small, medium, large, or all that are not here yet")
    fetch.add_argument(
        "--from", dest="source", metavar="FILE", help="the official file, if it is here already"
    )
    fetch.set_defaults(command=run_fetch)


def run_list(_: argparse.Namespace) -> int:
    """`pitch weights list`."""
    from pitch.weights import SHIPPED_SHA256, WeightsError, WeightsNotFoundError, find_weights

    for name, capacity in CAPACITIES.items():
        try:
            origin = "distilled from full by this project" if name in SHIPPED_SHA256 else "official"
            where = f"{find_weights(name)} ({origin}, MIT)"
        except WeightsNotFoundError as error:
            where = "not here" + str(error).partition("on this machine")[2]
        except WeightsError as error:
            where = f"damaged: {error}"
        print(f"{name:8} {capacity.parameters / 1e6:5.2f} M  {where}")
    return 0


def run_fetch(arguments: argparse.Namespace) -> int:
    """`pitch weights fetch`."""
    from pitch.fetch import FETCHABLE, fetch_weights
    from pitch.weights import cached_weights

    if arguments.name != "all":
        print(f"{arguments.name}: {fetch_weights(arguments.name, arguments.source)}")
        return 0
    if arguments.source is not None:
        raise ConfigError("--from", arguments.source, "no file with 'all': name the capacity of the file")
    for name in FETCHABLE:
        path, record = cached_weights(name)
        is_here = path.is_file() and record.is_file()
        print(f"{name}: {path if is_here else fetch_weights(name)}", flush=True)
    return 0
