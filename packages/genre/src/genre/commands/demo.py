"""`genre demo`: everything at once, on songs that it makes itself."""

import argparse

from genre.commands.parsers import Commands, add_device, add_parser
from genre.demo.config import FULL, MODELS, OUTPUT_DIR, QUICK

DESCRIPTION = """\
Render songs of ten genres with their stems, look for duplicates, train one model on the four stems and one on
the mixture alone, test both on artists that they have not heard, and write a report. Needs no network and no
data. The same command goes on with a demo that was interrupted or killed. In the output folder:
  report/index.html   the report
  corpus/             the songs: GENRE/ARTIST_SONG/, tracks.csv
  leakage.json        recordings that are there twice
  four_stems/, mixture/
                      stems, trainings, predictions.csv and evaluation.json of each model"""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = add_parser(commands, "demo", "songs, training, evaluation and report in one go", DESCRIPTION)
    parser.add_argument(
        "-o",
        "--output-dir",
        default=OUTPUT_DIR,
        metavar="DIR",
        help=f"folder of the demo (default: {OUTPUT_DIR})",
    )
    parser.add_argument("--quick", action="store_true", help="a small one, which only shows that all works")
    parser.add_argument(
        "--seed",
        type=int,
        default=FULL.settings.train.seed,
        metavar="INT",
        help="seed of the folds and the networks; the songs stay the same (default: %(default)s)",
    )
    parser.add_argument(
        "--corpus-seed",
        type=int,
        default=FULL.corpus.seed,
        metavar="INT",
        help="seed of artists and songs (default: %(default)s)",
    )
    parser.add_argument(
        "--ensemble",
        type=int,
        metavar="INT",
        help="networks a fold, with the seeds SEED, SEED + 1 and so on; more can join a finished demo "
        f"(default: {FULL.evaluate.ensemble}, or {QUICK.evaluate.ensemble} with --quick)",
    )
    add_device(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`genre demo`."""
    plan = (QUICK if arguments.quick else FULL).varied(
        arguments.seed, arguments.ensemble, arguments.corpus_seed
    )

    from genre.demo.run import run as run_demo
    from genre.demo.run import seed_sentence
    from genre.evaluate.summary import compare_models, headline

    evaluations = run_demo(arguments.output_dir, plan, device=arguments.device)
    for name in MODELS:
        print(headline(name, evaluations[name]))
        if sentence := seed_sentence(evaluations[name]):
            print(sentence)
    for versus in compare_models(evaluations):
        print(versus.sentence)
    print("with songs of your own, in a folder for each genre or listed in tracks.csv (path,label,artist):")
    print("  genre evaluate SONGS -o evaluation")
    print("  genre train SONGS -o run; genre predict run/best_model.pth FILE")
    return 0
