"""`mri2speech gradcam`: where the model looks for a formant, and whether it is made there."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from audio_io import cli
from audio_io.settings import add_arguments, from_arguments
from mri2speech.commands.parsers import Commands, sub_parser
from mri2speech.config import IMAGE_SIZE
from mri2speech.gradcam.config import FORMANT_BANDS, FaithfulnessConfig, FormantBand, GradcamConfig
from mri2speech.preprocess.config import PreprocessConfig

if TYPE_CHECKING:
    from mri2speech.config import MelConfig
    from mri2speech.gradcam.videos import Look

MAPS = """\
Explain the energy that the model predicts for bands of the mel: for each band OUT/gradcam_<band>_sequence.npy
(T x 256 x 256, from 0 to 1, a map for each mel frame), gradcam_<band>_average.png and, for each frame asked
for, gradcam_<band>_frame<number>.png."""
CUT = """\
Write an interval of sequences as gradcam_<band>_<name>_sequence.npy, and say with which frame it begins."""
VIDEO = """\
Write a film of heat maps in slow motion: each frame is shown --repeat times at --fps."""
OVERLAY = """\
Write the whole film with the heat maps of one or two bands and with speech: H.264 and AAC, for browsers."""
FAITHFULNESS = """\
Test whether the heat maps are true: OUT/index.html and OUT/faithfulness.json. Without --data on films of the
phantom, whose causes of F1, F2 and F3 are known; with it the tests that need no truth."""


def add_command(commands: Commands) -> None:
    """Add the parsers."""
    parser = commands.add_parser("gradcam", help="where the model looks for a formant: maps, films, tests")
    own = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_maps(sub_parser(own, "maps", "heat maps of a film", MAPS, maps))
    _add_cut(sub_parser(own, "cut", "an interval of heat maps", CUT, cut))
    _add_video(sub_parser(own, "video", "heat maps in slow motion", VIDEO, video))
    _add_overlay(sub_parser(own, "overlay", "film with heat maps and speech", OVERLAY, overlay))
    _add_faithfulness(sub_parser(own, "faithfulness", "are the maps true?", FAITHFULNESS, faithfulness))


def _add_maps(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--video", type=Path, required=True, metavar="FILE", help="the film")
    _add_model(parser)
    parser.add_argument("--output-dir", type=Path, required=True, metavar="DIR", help="where to write")
    _add_bands(parser)
    parser.add_argument(
        "--target-frames", type=int, nargs="*", default=[], metavar="FRAME", help="frames to draw, from 0"
    )
    _add_prepared(parser)
    parser.add_argument(
        "--mask",
        type=Path,
        metavar="FILE",
        help="the speaker's mask, if the data set of the training had one",
    )
    add_arguments(parser, GradcamConfig)


def maps(arguments: argparse.Namespace) -> int:
    """`mri2speech gradcam maps`."""
    config, bands = from_arguments(GradcamConfig, arguments), _bands(arguments)
    from mri2speech.gradcam.film import explain_film

    written = explain_film(
        arguments.video,
        arguments.mri_checkpoint,
        arguments.output_dir,
        bands,
        scaler_json=arguments.scaler_json,
        target_frames=arguments.target_frames,
        config=config,
        preprocess=_prepared(arguments),
        mask=arguments.mask,
        device=cli.pick_device(arguments.device),
    )
    for path in written:
        print(path)
    return 0


def _add_cut(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sequences", type=Path, nargs="+", metavar="SEQUENCE", help="gradcam_*_sequence.npy")
    parser.add_argument("--start", type=float, required=True, metavar="SECONDS", help="begin of the interval")
    parser.add_argument("--end", type=float, required=True, metavar="SECONDS", help="end of the interval")
    parser.add_argument("--name", default="segment", help="name of the interval (default: segment)")
    parser.add_argument("--output-dir", type=Path, metavar="DIR", help="where to write (default: beside)")
    _add_checkpoint_for_rate(parser)


def cut(arguments: argparse.Namespace) -> int:
    """`mri2speech gradcam cut`."""
    from mri2speech.gradcam.sequences import cut_sequence

    rate = _mel(arguments).frame_rate
    for path in arguments.sequences:
        target, first, count = cut_sequence(
            path,
            arguments.start,
            arguments.end,
            arguments.name,
            frame_rate=rate,
            output_dir=arguments.output_dir,
        )
        print(f"{target}: {count} frames from frame {first} on")
    return 0


def _add_video(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--video", type=Path, required=True, metavar="FILE", help="the film")
    parser.add_argument("--sequence", type=Path, required=True, metavar="FILE", help="its heat maps")
    parser.add_argument(
        "--start-frame", type=int, default=0, metavar="FRAME", help="frame of the first map (default: 0)"
    )
    parser.add_argument("--fps", type=float, default=5.0, help="frames a second (default: 5)")
    parser.add_argument("--repeat", type=int, default=4, help="times each frame is shown (default: 4)")
    _add_look(parser)


def video(arguments: argparse.Namespace) -> int:
    """`mri2speech gradcam video`."""
    from mri2speech.gradcam.videos import slow_motion

    count = slow_motion(
        arguments.video,
        arguments.sequence,
        arguments.output,
        start_frame=arguments.start_frame,
        fps=arguments.fps,
        repeat=arguments.repeat,
        look=_look(arguments),
        mel=_mel(arguments),
        preprocess=_prepared(arguments),
    )
    print(f"{arguments.output}: {count} frames, {count * arguments.repeat / arguments.fps:.1f} s")
    return 0


def _add_overlay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--video", type=Path, required=True, metavar="FILE", help="the film")
    parser.add_argument("--heatmap", type=Path, required=True, metavar="FILE", help="maps of a band")
    parser.add_argument("--heatmap2", type=Path, metavar="FILE", help="maps of another band")
    parser.add_argument("--audio", type=Path, metavar="FILE", help="speech that begins with the film")
    _add_look(parser)


def overlay(arguments: argparse.Namespace) -> int:
    """`mri2speech gradcam overlay`."""
    from mri2speech.gradcam.videos import overlay_video

    heatmaps = [path for path in (arguments.heatmap, arguments.heatmap2) if path is not None]
    count = overlay_video(
        arguments.video,
        heatmaps,
        arguments.output,
        audio=arguments.audio,
        look=_look(arguments),
        mel=_mel(arguments),
        preprocess=_prepared(arguments),
    )
    print(f"{arguments.output}: {count} frames")
    return 0


def _add_faithfulness(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("--output-dir", type=Path, required=True, metavar="DIR", help="where to write")
    parser.add_argument("--data", type=Path, metavar="DIR", help="preprocessed data set, not the phantom")
    _add_bands(parser)
    add_arguments(parser, FaithfulnessConfig, title="test")
    add_arguments(parser, GradcamConfig, title="heat maps")


def faithfulness(arguments: argparse.Namespace) -> int:
    """`mri2speech gradcam faithfulness`."""
    config, maps = from_arguments(FaithfulnessConfig, arguments), from_arguments(GradcamConfig, arguments)
    bands = _bands(arguments)
    from mri2speech.acoustic import checkpoint
    from mri2speech.gradcam.faithfulness import examine
    from mri2speech.gradcam.films import data_films, phantom_films
    from mri2speech.gradcam.page import write_report

    device = cli.pick_device(arguments.device)
    model, scaler, _ = checkpoint.load(arguments.mri_checkpoint, scaler=arguments.scaler_json)
    films = phantom_films(config) if arguments.data is None else data_films(arguments.data, config)
    results, examples = examine(model.to(device), films, scaler, bands, config, maps)
    page = write_report(arguments.output_dir, results, examples)
    for band, rows in results["masking"].items():
        ratio, low, high = rows["map"]["ratio_to_random"]
        text = f"{band}: hiding what is marked changes the band {ratio:.2f} times as much as hiding as much"
        print(f"{text} elsewhere in the head (95 %: {low:.2f} to {high:.2f})")
    print(page)
    return 0


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mri-checkpoint", type=Path, required=True, metavar="FILE", help="acoustic model, best.pt"
    )
    parser.add_argument(
        "--scaler-json", type=Path, metavar="FILE", help="scaler.json instead of the model's own"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")


def _add_bands(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--formant-band",
        action="append",
        metavar="NAME:LOW-HIGH",
        help=f"a band in Hz; may be given several times (default: {' '.join(map(str, FORMANT_BANDS))})",
    )


def _bands(arguments: argparse.Namespace) -> tuple[FormantBand, ...]:
    given = arguments.formant_band
    return FORMANT_BANDS if given is None else tuple(map(FormantBand.parse, given))


def _add_prepared(parser: argparse.ArgumentParser) -> None:
    prepared = parser.add_argument_group("how the film is prepared, as for the training")
    # Not `resize`, which is the size of the picture in `overlay`.
    prepared.add_argument("--image-size", type=int, default=IMAGE_SIZE, metavar="PIXELS")
    prepared.add_argument("--shape", choices=("stretch", "letterbox"), default="stretch")
    prepared.add_argument("--interpolation", choices=("linear", "nearest"), default="linear")
    prepared.add_argument(
        "--video-fps", type=float, metavar="FPS", help="frame rate, where the film itself does not tell"
    )


def _prepared(arguments: argparse.Namespace) -> PreprocessConfig:
    return PreprocessConfig(
        image_size=arguments.image_size,
        resize=arguments.shape,
        interpolation=arguments.interpolation,
        fps=arguments.video_fps,
    )


def _add_checkpoint_for_rate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scaler-json", type=Path, metavar="FILE", help="scaler.json, if its mels are not the usual ones"
    )


def _mel(arguments: argparse.Namespace) -> "MelConfig":
    """Settings of the mels, of which the maps have the times."""
    from mri2speech.config import MelConfig

    if arguments.scaler_json is None:
        return MelConfig()
    from mri2speech.features import Scaler

    return Scaler.load(arguments.scaler_json).mel


def _add_look(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the .mp4 to write")
    parser.add_argument(
        "--alpha", type=float, default=0.7, help="opacity of the hottest place (default: 0.7)"
    )
    parser.add_argument(
        "--resize", type=int, nargs=2, default=[256, 256], metavar=("WIDTH", "HEIGHT"),
        help="size of the picture, above its legend (default: 256 256)",
    )  # fmt: skip
    _add_checkpoint_for_rate(parser)
    _add_prepared(parser)


def _look(arguments: argparse.Namespace) -> "Look":
    from mri2speech.gradcam.videos import Look

    width, height = arguments.resize
    return Look(arguments.alpha, width, height)
