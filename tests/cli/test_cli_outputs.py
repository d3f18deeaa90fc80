"""No output of any command overwrites what it reads: every pair of options, by every spelling of a path."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_place import Ran, Run
from typer.core import TyperCommand
from typer.main import get_command

from foldmap.cli import app
from foldmap.cli.outputs import TEXT_THAT_NAMES_FILES, WRITTEN, Named, refuse_to_overwrite
from foldmap.cli.verbs import Verb, label_of
from foldmap.errors import ConfigError

READ: dict[str, set[str]] = {
    "demo": {"model"},
    "build lidar": {"sweeps", "poses", "calibration"},
    "build visual": {"images", "weights", "poses", "matching"},
    "train lidar": {"pairs", "map_tif", "map_query", "sweeps", "poses", "start"},
    "train street": {"data", "street_map", "ring", "start"},
    "train visual": {"scenes", "features", "photos", "start"},
    "fold": {"sources", "model", "before", "features", "photos", "globals_", "decoder", "positions", "align"},
    "localize": {
        *(
            "fold_file",
            "observations",
            "poses",
            "odometry",
            "gps",
            "calibration",
            "queries",
            "rigs",
            "features",
            "photos",
        ),
        *("global_descriptors", "model", "weights", "matcher_weights", "prior", "drive", "truth", "ring"),
    },
    "evaluate": {"estimates", "truth", "calibration", "queries"},
    "calibrate": {"fold_file", "estimates", "truth", "elsewhere"},
    "report": {"run", "fold_file", "truth"},
    "view": {"fold_file", "run", "truth", "drive"},
    "show": {"fold_file"},
    "verify": {"fold_file"},
    "unfold": {"fold_file"},
    "export": {"fold_file"},
    "merge": {"files"},
    "extract": {"fold_file", "corridor"},
    "diff": {"base", "after"},
    "patch": {"fold_file", "patch_file"},
    "serve": {"fold_file", "patches", "weights"},
    "street retrieve": {"fold_file", "observations", "poses", "ring", "model"},
    "street update": {"fold_file", "observations", "poses", "ring", "model"},
    "street expand": {"fold_file", "observations", "library", "poses", "ring", "model"},
    "street map2pix": {"street_map", "observations", "poses", "ring", "model"},
    "bench lidar": {
        *("sweeps", "poses", "map_tif", "map_query", "model", "matcher", "pairs", "ablations", "calibration"),
    },
    "bench visual": {"scenes", "features", "photos", "queries", "poses", "weights", "decoder"},
    "bench street": {
        *("data", "model", "ring_model", "front_model", "update_model", "paper_model", "ring", "maps"),
    },
    "bench trust": {
        *("maps", "images", "model", "queries", "truth", "elsewhere", "weights", "sweeps", "poses", "calibration"),
        *("drives", "drive_poses", "ring"),
    },
}
"""What each command reads; with `WRITTEN` that must be every parameter which is a path."""

WORDS = {
    *(
        "as_",
        "learn_on",
        "adapt",
        "on",
        *("host", "token", "allow_origin", "max_body"),
        "budget",
        "anchor",
        "select",
        "codec",
        "embeddings",
        "lanes",
        "name",
        "format_",
        "camera",
        "matcher",
    ),
    *("layout", "thresholds", "unit", "region", "features", "crs", "preset", "model", "hold_out", "mode"),
    *("device", "precision", "near", "box", "search", "at", "layer", "tables", "methods", "budgets"),
    *(
        "generators",
        "split",
        "scored",
        "matchers",
        "alert_limit",
        "kind",
        "bbox",
        "prefer",
        "topic",
        "base_frame",
        "clock",
    ),
}
"""Text that names no file."""


def verbs(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command of the program, found by walking it."""
    for name, inner in group.commands.items():
        if hasattr(inner, "commands"):
            yield from verbs(inner, (*words, name))
        else:
            yield " ".join((*words, name)), inner


ROOT = get_command(app)
VERBS = dict(verbs(ROOT))
PAIRS = [(verb, out, read) for verb in VERBS for out in WRITTEN[verb] for read in sorted(READ[verb])]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line up to the verb's own work, which fails the test."""

    def work(self: Any, ctx: Any) -> None:
        raise AssertionError(f"{ctx.command_path} began its work")

    monkeypatch.setattr(TyperCommand, "invoke", work)

    def call(*arguments: object) -> Ran:
        status = ROOT.main([str(one) for one in arguments], prog_name="foldmap", standalone_mode=False)
        return Ran(status, *capsys.readouterr())

    return call


def kind_of(parameter: Any) -> str:
    """Path, str or another type, also of lists."""
    text = str(parameter.type_descriptor.annotation)
    return next((kind for kind in ("Path", "str") if kind in text), "")


def test_every_parameter_that_is_a_path_is_written_or_read() -> None:
    assert set(VERBS) == set(READ) == set(WRITTEN)
    for verb, command in VERBS.items():
        assert isinstance(command, Verb), (
            f"{verb} is not checked before it runs: register it with foldmap.cli.verbs.App"
        )
        paths = {one.name for one in command.params if kind_of(one) == "Path"}
        texts = {one.name for one in command.params if kind_of(one) == "str"}
        known = READ[verb] | set(WRITTEN[verb])
        assert paths <= known, f"{verb}: {paths - known} are paths: say in WRITTEN or READ which"
        assert not READ[verb] & set(WRITTEN[verb])
        files = texts & set(TEXT_THAT_NAMES_FILES)
        assert known == paths | files, f"{verb}: {known - paths - files} are no paths"
        assert texts - files <= WORDS, f"{verb}: does {texts - files - WORDS} name a file?"
    assert len(PAIRS) > 80


def line_of(command: Any, given: dict[str, Path]) -> list[str]:
    """A command line with these values, and something in each other place that must be filled."""
    words: list[str] = []
    for one in command.params:
        value = given.get(one.name)
        if value is None and one.required:
            value = "1,2,3" if one.name == "at" else Path("other-" + one.name)
        if value is not None:
            words += [str(value)] if one.param_type_name == "argument" else [max(one.opts, key=len), str(value)]
    return words


def spellings(target: Path, folder: Path) -> Iterator[Path]:
    """Other paths to the same file: with detours, through links."""
    yield target
    yield target.parent / "." / ".." / target.parent.name / target.name
    beside = target.parent / f"linked{''.join(target.suffixes)}"
    beside.symlink_to(target)
    yield beside
    beside = target.parent / f"hard{''.join(target.suffixes)}"
    os.link(target, beside)
    yield beside
    (folder / "elsewhere").symlink_to(target.parent)
    yield folder / "elsewhere" / target.name


@pytest.mark.parametrize(("verb", "out", "read"), PAIRS)
def test_an_output_that_is_an_input_is_refused_before_any_work(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, out: str, read: str
) -> None:
    monkeypatch.chdir(tmp_path)
    command = VERBS[verb]
    labels = {one.name: label_of(one) for one in command.params}
    for number, pattern in enumerate(WRITTEN[verb][out]):
        room = tmp_path / str(number)
        made = room / pattern.replace("{}", "given").replace("{stem}", "given").replace("**/*", "0/it").replace(
            "*", "x"
        )
        made.parent.mkdir(parents=True)
        made.write_bytes(b"precious")
        output = room / ("given.tif" if "{stem}" in pattern else "given")
        for spelled in [*spellings(made, tmp_path)] if number == 0 else [made]:
            run(*verb.split(), *line_of(command, {out: output, read: spelled})).refused(
                f"error: {labels[out]} ",
                f"is also read as {labels[read]} (",
                f"(choose another name for {labels[out]})",
            )
            assert made.read_bytes() == b"precious"


@pytest.mark.parametrize(("verb", "out", "read"), PAIRS)
def test_an_output_inside_an_input_folder_is_refused(run: Run, tmp_path: Path, verb: str, out: str, read: str) -> None:
    pattern = WRITTEN[verb][out][0]
    suffix = ".bin" if read == "sweeps" else ".png" if read in ("images", "photos", "observations") else ".txt"
    name = f"deep/precious{suffix}"
    output = tmp_path / "read" / name
    if pattern != "{}":  # a folder: one of the files that it will hold is a link to what is read
        output = tmp_path / "out"
        linked = output / pattern.removeprefix("{}/").replace("**/*", "0/it").replace("*", "x")
        linked.parent.mkdir(parents=True)
        linked.symlink_to(tmp_path / "read" / name)
    precious = tmp_path / "read" / name
    precious.parent.mkdir(parents=True)
    precious.write_bytes(b"precious")
    run(*verb.split(), *line_of(VERBS[verb], {out: output, read: tmp_path / "read"})).refused(
        f"{tmp_path / 'read'}, which is read as "
    )
    assert precious.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("command", "name", "written", "said"),
    [
        ("extract", "output", "", "is a folder"),
        ("evaluate", "plot", "errors.png", "is drawn as SVG"),
        ("localize", "picture", "where.svg", "is drawn as PNG"),
    ],
)
def test_what_cannot_be_written_is_said_before_any_work(
    tmp_path: Path, command: str, name: str, written: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        refuse_to_overwrite(command, [Named(name, f"--{name}", tmp_path / written)], [])
    for good in ("errors.svg" if name == "plot" else "where.png", "plain"):
        refuse_to_overwrite(command, [Named(name, f"--{name}", tmp_path / good)], [])


def test_an_input_by_pattern_counts(run: Run, tmp_path: Path) -> None:
    (tmp_path / "drive").mkdir()
    (tmp_path / "drive" / "0.bin").write_bytes(b"precious")
    out = tmp_path / "drive" / "0.bin"
    ran = run("localize", "map.fold", f"{tmp_path}/**/*.bin", "--poses", "p.txt", "-o", out)
    assert (ran.status, out.read_bytes()) == (2, b"precious")
    assert "is also read as observations" in ran.err


TWO = [(verb, a, b) for verb in VERBS for a in WRITTEN[verb] for b in WRITTEN[verb] if a < b]


@pytest.mark.parametrize(("verb", "one", "other"), TWO)
def test_two_outputs_are_not_one_file(run: Run, tmp_path: Path, verb: str, one: str, other: str) -> None:
    if WRITTEN[verb][one][0] != "{}" or WRITTEN[verb][other][0] != "{}":
        pytest.skip("a folder and a file")
    (tmp_path / "same").symlink_to(tmp_path)
    run(*verb.split(), *line_of(VERBS[verb], {one: tmp_path / "new", other: tmp_path / "same" / "new"})).refused(
        "would both write"
    )
    assert not (tmp_path / "new").exists()


def test_the_file_beside_an_output_is_not_another_output(run: Run, tmp_path: Path) -> None:
    new = tmp_path / "e.csv"
    ran = run("localize", "m.fold", "crops", "-o", new, "--picture", f"{new}.jsonl")
    assert "--picture and --output would both write" in ran.err or "--output and --picture would both" in ran.err


def test_the_answers_beside_estimates_are_read(run: Run, tmp_path: Path) -> None:
    for name in ("e.txt", "e.txt.jsonl", "truth.txt"):
        (tmp_path / name).write_text("precious")
    run("evaluate", tmp_path / "e.txt", tmp_path / "truth.txt", "--plot", tmp_path / "e.txt.jsonl").refused(
        "is also read as estimates"
    )


def named(name: str, path: Path) -> Named:
    return Named(name, f"--{name}", path)


def test_what_a_command_wrote_into_a_folder_does_not_stop_it_the_next_time(tmp_path: Path) -> None:
    for name in ("map.fold", "found.csv", "plot.svg", "estimates.txt", "estimates.txt.jsonl"):
        (tmp_path / name).write_text("made before")
    (tmp_path / "estimates.txt.settings.json").write_text('{"command": "localize"}')
    (tmp_path / "found.csv.settings.json").write_text('{"command": "street retrieve"}')
    for source in ("sweeps", "photos", "poses"):
        refuse_to_overwrite("localize", [named("output", tmp_path / "estimates.txt")], [named(source, tmp_path)])
    refuse_to_overwrite("fold", [named("output", tmp_path / "map.fold")], [named("sources", tmp_path)])
    refuse_to_overwrite("street retrieve", [named("output", tmp_path / "found.csv")], [named("observations", tmp_path)])
    refuse_to_overwrite("evaluate", [named("plot", tmp_path / "plot.svg")], [named("truth", tmp_path)])
    with pytest.raises(ConfigError, match="which is read as --sources"):  # another command's result may well be read
        refuse_to_overwrite("fold", [named("output", tmp_path / "found.csv")], [named("sources", tmp_path)])


def test_a_device_takes_any_number_of_outputs() -> None:
    null = Path("/dev/null")
    refuse_to_overwrite("show", [named("codes", null), named("embedding", null)], [named("fold_file", null)])


def test_folders_that_link_to_each_other_are_walked_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "back").symlink_to(tmp_path)
    (tmp_path / "new.txt").write_text("")
    with pytest.raises(ConfigError, match="is read as --sources"):
        refuse_to_overwrite("fold", [named("output", tmp_path / "new.txt")], [named("sources", tmp_path / "a")])
