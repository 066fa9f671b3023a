"""`genre separate`: the stems of a corpus, into the cache."""

import argparse

from audio_io.settings import add_arguments, from_arguments
from genre.commands.parsers import Commands, add_corpus, add_device, add_jobs, add_parser, open_corpus
from genre.config import FeatureConfig, SeparationConfig

DESCRIPTION = """\
Separate every track of a corpus into vocals, drums, bass and other, one <id>.npz a track.

DATA is the contest's folder (train_master, label_master, train_sound_*), a folder per genre (blues/a.wav), or
a folder with tracks.csv (path,label[,artist]). What is there already is kept; what other settings, an earlier
program or a killed run left is made anew. Several runs may fill one cache. Recordings that cannot be used are
listed at the end and in quarantine.csv beside the stems."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = add_parser(commands, "separate", "make the stems of a corpus", DESCRIPTION)
    add_corpus(parser)
    add_device(parser)
    parser.add_argument(
        "--segments",
        type=int,
        default=0,
        metavar="INT",
        help="segments that Demucs takes at once (default: 4 on a GPU, 1 on a CPU)",
    )
    add_jobs(parser)
    parser.add_argument("--thorough", action="store_true", help="compare check sums of what is there")
    parser.add_argument(
        "--sample-rate",
        type=int,
        default=FeatureConfig.sample_rate,
        metavar="INT",
        help=f"sample rate of the stems in Hz (default: {FeatureConfig.sample_rate})",
    )
    add_arguments(parser, SeparationConfig, title="separation")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`genre separate`."""
    config = from_arguments(SeparationConfig, arguments)
    features = FeatureConfig(sample_rate=arguments.sample_rate)

    from genre.stem_cache import StemCache

    corpus = open_corpus(arguments)
    cache = StemCache(config, features)
    summary = cache.fill(
        [*corpus.tracks, *corpus.test],
        device=arguments.device,
        batch_size=arguments.segments,
        jobs=arguments.jobs,
        thorough=arguments.thorough,
    )
    if corpus.problems:
        print(f"{len(corpus.problems)} mismatches between the files and their labels:")
        print("\n".join(f"  {problem}" for problem in corpus.problems))
    if summary.faults:
        print(
            f"{len(summary.faults)} recordings that cannot be used (also in {cache.folder}/quarantine.csv):"
        )
        print("\n".join(f"  {fault.problem}" for fault in summary.faults))
    print(f"{cache.folder}: {summary.text()}")
    return 0
