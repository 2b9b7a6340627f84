"""The command line of the course: ``edu-compress COMMAND``.

Exit status: 0 when all went well, 1 when a file, picture or setting was at fault (one sentence on
standard error says what and what to do), 2 when the command line itself was wrong, 130 when it was interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__, datasets, files, images, metrics, registry
from .errors import CodecError, SettingError
from .learned import pretrained

_DESCRIPTION = """\
Learned image compression, built step by step. The lessons teach how these codecs work;
this command runs them on your own pictures and writes real files."""

_EPILOG = """\
try it:
  edu-compress encode photo.png photo.jpg --codec jpeg --setting 75    make a file; prints its rate and quality
  edu-compress inspect photo.jpg                                       where did each byte go?
  edu-compress decode photo.jpg decoded.png                            and back to pixels
  edu-compress encode coffee coffee.edc --codec lossless               a picture of the course instead of a file
  edu-compress evaluate jpeg --data my_pictures                        its mean curve over a folder, as a JSON file"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    parser = _parser()
    options, options_of_lab = parser.parse_known_args(arguments)
    if options.command == "lab":
        options.more = options_of_lab
    elif options_of_lab:
        parser.error(f"unrecognized arguments: {' '.join(options_of_lab)}")
    try:
        return options.run(options) or 0
    except CodecError as error:
        print(f"edu-compress: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edu-compress",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edu-compress {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")

    def command(name: str, run, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    def add_options(to: argparse.ArgumentParser, text: str) -> None:
        to.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help=f"{text}; may be repeated")

    command(
        "codecs",
        _codecs,
        "list the codecs, with the setting that moves each along its rate-distortion curve, and the trained weights",
    )

    encode = command("encode", _encode, "compress a picture into a file; prints its size, rate and quality")
    encode.add_argument("input", metavar="IN", help="a picture file, or the name of a sample photograph of the course")
    encode.add_argument("output", metavar="OUT", help="the file to write")
    encode.add_argument("--codec", default="jpeg", metavar="NAME", help="one of `edu-compress codecs` (default: jpeg)")
    encode.add_argument(
        "--setting", type=float, metavar="X",
        help="how much quality to pay for, in the codec's own unit (default: the middle of its range)",
    )  # fmt: skip
    add_options(encode, "an option of the codec, for example subsampling=4:4:4 or refine=100")

    decode = command(
        "decode", _decode, "rebuild the picture from a compressed file, which says by itself what reads it"
    )
    decode.add_argument("input", metavar="IN", help="a compressed file")
    decode.add_argument("output", metavar="OUT", help="the picture to write, for example decoded.png")
    add_options(decode, "a choice that the decoder has")

    inspect = command(
        "inspect", _inspect, "show a compressed file's header fields and its ledger: where each byte went"
    )
    inspect.add_argument("input", metavar="FILE", help="a compressed file")

    train = command("train", _train, "train a model from a recipe; writes its weights and their card")
    train.add_argument("recipe", metavar="CONFIG", help="a TOML file, for example data/recipes/factorized.toml")
    train.add_argument("--data", required=True, metavar="FOLDER", help="the pictures to learn from")
    train.add_argument("--out", metavar="FOLDER", help="for checkpoint, weights and card (default: runs/NAME)")
    train.add_argument("--steps", type=int, metavar="N", help="make N steps altogether instead of the recipe's")
    train.add_argument("--batch", type=int, metavar="N", help="crops in a step instead of the recipe's")
    train.add_argument(
        "--minutes", type=float, metavar="M",
        help="be finished within M minutes: the schedule follows the clock instead of counting steps",
    )  # fmt: skip
    train.add_argument(
        "--pause-after", type=float, metavar="M",
        help="stop after M minutes with a checkpoint, wherever the run is; --resume goes on from there",
    )  # fmt: skip
    train.add_argument("--start", metavar="NAME", help="begin with these trained weights instead of the recipe's")
    train.add_argument("--first-step", type=int, metavar="N", help="begin at this place in the schedule")
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out, if there is one")
    train.add_argument(
        "--device", default="auto", metavar="NAME",
        help="cpu, cuda or auto, a GPU if there is one; several: torchrun --nproc-per-node N -m edu_compress.cli train",
    )  # fmt: skip
    train.add_argument("--threads", type=int, metavar="N", help="for computing on the CPU (default: torch's choice)")

    evaluate = command("evaluate", _evaluate, "measure a codec on a folder of pictures, with real files; writes JSON")
    evaluate.add_argument("codec", metavar="CODEC", help="one of `edu-compress codecs`")
    evaluate.add_argument(
        "--data", required=True, metavar="FOLDER", help="the pictures, or a set of `edu-compress data`"
    )
    evaluate.add_argument(
        "--settings", type=float, nargs="+", metavar="X", help="the settings to try (default: the codec's own list)"
    )
    add_options(evaluate, "an option of the codec")
    evaluate.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes, of one thread each (default: 1)"
    )
    evaluate.add_argument("--out", metavar="FILE", help="what to write (default: data/results/CODEC_FOLDER.json)")
    evaluate.add_argument("--card", metavar="NAME", help="also write the curve into the card of these weights")

    data = command("data", _data, "fetch a public set of pictures into the cache folder; without NAME, list them")
    data.add_argument("name", nargs="?", metavar="NAME", help="of the set")

    command("doctor", _doctor, "check this installation; paste the output into bug reports")
    command("lab", _lab, "open the lessons in JupyterLab; further arguments, such as --no-browser, go to JupyterLab")
    return parser


# --- the commands -----------------------------------------------------------------------------


def _codecs(_: argparse.Namespace) -> None:
    for entry in registry.entries().values():
        print(f"{entry.name:14} {entry.suffix:6} {entry.setting:16} {entry.about}")
    for folder in pretrained.weights_folders():
        print(f"trained weights in {folder}:{'' if pretrained.names(folder) else ' none'}")
        for name in pretrained.names(folder):
            card = pretrained.read_card(name, folder)
            its = [f"model {card['model']}"] + [f"{card[key]:,} {key}" for key in ("bytes", "steps") if key in card]
            print(f"{name:22} {', '.join(its)}")


def _encode(options: argparse.Namespace) -> None:
    chosen = registry.open_codec(options.codec, **_options(options))
    suffix = registry.find(options.codec).suffix
    if Path(options.output).suffix.lower() != suffix:
        raise SettingError(f"Codec {options.codec!r} writes {suffix} files; give OUT that ending.")
    image = images.sample(options.input) if options.input in images.sample_names() else images.load(options.input)
    setting = chosen.settings[len(chosen.settings) // 2] if options.setting is None else options.setting
    if hasattr(chosen, "progress"):  # codecs that can take minutes
        chosen.progress = True
    data = chosen.encode(image, setting)
    files.write_atomically(options.output, data)
    decoded = chosen.decode(data)
    height, width = image.shape[:2]
    print(f"{options.output}: {width}x{height}, setting {setting:g}, {len(data):,} bytes")
    times_smaller = image.size / len(data)
    print(
        f"rate     {metrics.bits_per_pixel(data, image):.4f} bits per pixel, {times_smaller:.1f} times smaller than raw"
    )
    print(f"quality  {metrics.psnr(image, decoded):.2f} dB PSNR, {metrics.ms_ssim(image, decoded):.4f} MS-SSIM")


def _options(options: argparse.Namespace) -> dict[str, object]:
    """What --option KEY=VALUE gives to the codec's constructor: true, false, numbers and words."""
    found: dict[str, object] = {}
    for text in options.option:
        key, equals, value = text.partition("=")
        if not equals:
            raise SettingError(f"--option wants KEY=VALUE, not {text!r}.")
        if value in ("true", "false"):
            found[key] = value == "true"
        elif re.fullmatch("-?[0-9]+", value):
            found[key] = int(value)
        else:
            found[key] = float(value) if re.fullmatch(r"-?[0-9]*\.[0-9]+(e-?[0-9]+)?", value) else value
    return found


def _decode(options: argparse.Namespace) -> None:
    data = _read(options.input)
    image = registry.open_reader(data, **_options(options)).decode(data)
    images.save(options.output, image)
    print(f"{options.output}: {image.shape[1]}x{image.shape[0]}")


def _inspect(options: argparse.Namespace) -> None:
    data = _read(options.input)
    name, found = registry.identify(data)
    its = "".join(f", {key} {value!r}" for key, value in found.items())
    print(f"{options.input}: {len(data):,} bytes, read by codec {name!r}{its}")
    for field, value in registry.describe(data):
        print(f"  {field:28} {value}")
    print("ledger (where each byte went):")
    for part, count in registry.ledger(data).items():
        print(f"  {part:28} {count:10,} bytes {100 * count / len(data):6.2f} %")
    print(f"  {'sum':28} {len(data):10,} bytes")


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CodecError(f"Cannot read {path}: {error.strerror}.") from error


def _train(options: argparse.Namespace) -> int:
    from . import training  # here: torch takes seconds to load

    recipe = training.read_recipe(options.recipe)
    given = {name: getattr(options, name) for name in ("steps", "batch", "minutes", "start", "first_step")}
    recipe = dataclasses.replace(recipe, **{name: value for name, value in given.items() if value is not None})
    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started
    out = Path(options.out) if options.out else Path("runs") / recipe.name
    run = training.train(
        recipe,
        datasets.read_folder(options.data, progress=first),
        out,
        pause_after=options.pause_after,
        resume=options.resume,
        device=options.device,
        threads=options.threads,
        progress=first,
        command=_command("train", options.recipe, data=options.data, **given),
    )
    if first and run.card is None:
        done = run.step - recipe.first_step
        whole = recipe.minutes or run.minutes * (recipe.steps - recipe.first_step) / max(done, 1)
        print(f"stopped at step {run.step:,} of {recipe.steps:,}, after {run.minutes:.1f} of about {whole:.1f} minutes")
        print(f"{out / training.CHECKPOINT} is its checkpoint; the same command with --resume goes on from there")
    elif first:
        for point in run.curve[-1]["points"]:
            print("   ".join(f"{name} {value:<8.4g}" for name, value in point.items()).rstrip())
        print(f"{out / recipe.name}.safetensors: {run.card['bytes']:,} bytes, {run.minutes:.1f} minutes")
        print(f"To use these weights, set EDU_COMPRESS_WEIGHTS={out}")
    if first:
        print(f"{run.step - recipe.first_step:,} steps, {run.speed:.3g} Mpixel/s")
    return 130 if run.interrupted else 0


def _evaluate(options: argparse.Namespace) -> None:
    from . import evaluation

    if options.card:
        pretrained.read_card(options.card)  # mistakes are found before the work, not after it
    folder = files.make_folder(Path(options.out).parent if options.out else evaluation.results_folder())
    codec_options = _options(options)
    result = evaluation.evaluate(
        options.codec,
        options.data,
        options.settings,
        workers=options.workers,
        options=codec_options,
        command=_command(
            "evaluate", options.codec, data=options.data, settings=options.settings, option=options.option
        ),
    )
    out = options.out or folder / f"{options.codec}_{result['data']['name']}.json"
    evaluation.save(out, result)
    points = result["curves"][0]["points"]
    if options.card:
        measured = {"pictures": result["data"], "codec": options.codec, "options": codec_options, "points": points}
        pretrained.add_measurement(options.card, {**measured, "command": result["command"]})
    for point in points:
        print(
            f"setting {point['setting']:<8g} {point['bpp']:.4f} bpp  {point['psnr']:.3f} dB PSNR  "
            f"{point['ms_ssim']:.5f} MS-SSIM"
        )
    print(f"{out}: mean over {result['data']['pictures']} pictures")


def _command(name: str, first: str, **options) -> str:
    """Write the command that does the same again, without the folders of this machine."""

    def word(value: object) -> str:
        path = Path(str(value))
        return path.name if path.is_absolute() else f"{value:g}" if isinstance(value, float) else str(value)

    words = ["edu-compress", name, word(first)]
    for key, value in options.items():
        if key == "option":  # once for each
            words += [part for item in value for part in ("--option", item)]
        elif value:
            words += [f"--{key.replace('_', '-')}", *map(word, value if isinstance(value, list) else [value])]
    return " ".join(words)


def _data(options: argparse.Namespace) -> None:
    if options.name is not None:
        print(datasets.fetch(options.name))
        return
    for name, public in datasets.PUBLIC_SETS.items():
        print(f"{name:10} {public.about}; from {public.url}")


def _lab(options: argparse.Namespace) -> int:
    lessons = Path(__file__).resolve().parents[1] / "lessons"
    if not lessons.is_dir():
        raise CodecError("The lessons are not beside this installation; clone the repository and run `make lab` in it.")
    first = lessons / "00_rate_and_distortion.ipynb"
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={lessons}", *options.more, str(first)]
    try:
        return subprocess.call(command)
    except KeyboardInterrupt:  # Ctrl+C is how JupyterLab is stopped
        return 0


# --- doctor -----------------------------------------------------------------------------------


def _requirements() -> list[str]:
    """What this package says that it needs, and what the lessons need; the rest is for tests and benchmarks."""
    try:
        needed = importlib.metadata.requires("edu_compress") or []
    except importlib.metadata.PackageNotFoundError:
        return []  # its own line says so
    here = [line for line in needed if "extra ==" not in line or re.search("extra == .lab", line)]
    return [re.match(r"[\w.-]+", line)[0] for line in here]


def _doctor(_: argparse.Namespace) -> int:
    """Print one [OK] or [FAIL] line per requirement; the exit status is 1 if anything failed."""
    print(f"edu-compress {__version__} on {platform.platform()}")
    checks = [("Python 3.11 or newer", sys.version_info >= (3, 11), platform.python_version())]
    checks += [(name, *_installed(name)) for name in ("edu_compress", *_requirements())]
    checks += [("sample photographs", *_samples()), ("JPEG round trip", *_round_trip())]
    for name, passed, remark in checks:
        print(f"[{'OK' if passed else 'FAIL'}] {name}{': ' + remark if remark else ''}")
    return 0 if all(passed for _, passed, _ in checks) else 1


def _installed(name: str) -> tuple[bool, str]:
    try:
        return True, importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False, "not installed; run `make lab`, or pip install --editable '.[lab]'"


def _samples() -> tuple[bool, str]:
    try:
        return True, f"{len([images.sample(name) for name in images.sample_names()])} found"
    except CodecError as error:
        return False, str(error)


def _round_trip() -> tuple[bool, str]:
    jpeg, image = registry.open_codec("jpeg"), images.sample(images.sample_names()[0])
    data = jpeg.encode(image, 75)
    quality = float(metrics.psnr(image, jpeg.decode(data)))
    return quality > 30, f"{len(data):,} bytes, {quality:.2f} dB"


if __name__ == "__main__":
    sys.exit(main())
