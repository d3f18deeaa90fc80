"""Kept results: what decides them, that a stopped run goes on, and that documents tell what they say."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from benchmarks.evidence import __main__ as evidence
from benchmarks.evidence import pages, papers, roads, seals
from benchmarks.evidence.results import RESULTS, Measured, Results, line_of, read_results
from benchmarks.evidence.runs import Run, all_runs, chosen_runs
from benchmarks.lines import at_least, information
from foldmap.errors import ConfigError

FIGURES = [at_least(1, "answered", 97.25, 95, "%").to_dict(), information(1, "median", 3.5, "cm").to_dict()]
MACHINE = {"processor": "any", "cores": 2, "threads": 1, "python": "3"}


def results(name: str = "house-lines", *measured: float) -> Results:
    seeds = {}
    for seed, value in enumerate(measured or (97.25,)):
        seeds[str(seed)] = Measured(12.3, 10.0, 0.1, [{**FIGURES[0], "measured": value}, FIGURES[1]])
    return Results(name, "python -m benchmarks.scoreboard", "in", {"README.md": "0"}, MACHINE, "1.0", seeds)


def test_every_row_of_the_scoreboard_is_a_run_of_its_own_name() -> None:
    names = [run.name for run in all_runs()]
    assert len(names) == len(set(names)) > 50
    assert [run.name for run in chosen_runs(["house-l"])] == ["house-lidar-file", "house-lines"]
    assert all(seals.file_of(run.module) for run in all_runs())


def test_documents_tell_what_the_results_files_say() -> None:
    for page in pages.PAGES:
        path = pages.ROOT / page
        text = path.read_text(encoding="utf-8")
        assert pages.filled(text) == text, f"{page}: run make evidence"


def test_marks_are_invisible_to_who_reads_a_document() -> None:
    markdown = MarkdownIt("commonmark").enable("table")
    for page in pages.PAGES:
        inline = [one for one in markdown.parse((pages.ROOT / page).read_text(encoding="utf-8")) if one.children]
        seen = [child.content for one in inline for child in one.children or () if child.type == "text"]
        assert not [text for text in seen if "<!--" in text or "-->" in text], page


def test_every_results_file_is_told_in_a_document_and_is_small() -> None:
    told = "".join((pages.ROOT / page).read_text(encoding="utf-8") for page in pages.PAGES)
    for path in RESULTS.glob("*.json"):
        assert f"<!-- evidence: {path.stem}" in told
        assert read_results(path.stem) is not None
        assert path.stat().st_size < 64_000


def test_no_figure_is_without_a_results_file() -> None:
    for page, count in pages.count_typed().items():
        assert count == 0, f"{page} has {count} figures without results: measure by make evidence"


@pytest.mark.parametrize("paper", papers.PAPERS)
def test_every_row_of_a_paper_has_a_figure_or_a_reason(paper: str) -> None:
    names = {run.name for run in all_runs()}
    for told in papers.PAPERS[paper]():
        assert told.run in names or (not told.run and told.why), told
    table = papers.paper_table(paper, RESULTS)
    assert all(line.split(" | ")[2].strip() for line in table[2:])
    assert not any("no such row" in line for line in table)


def test_a_row_is_told_by_its_whole_name_first(tmp_path: Path) -> None:
    kept = results("lidar-tables-online")
    for name, median in (("jpeg-50", 1.0), ("jpeg-5", 2.0)):
        detail = {"table": "online", "method": name, "median_cm": median}
        kept.seeds["0"].figures.append({**FIGURES[1], "name": name, "detail": detail})
    kept.write(tmp_path)
    rows = {line.split(" | ")[1]: line for line in papers.paper_table("lidar", tmp_path)[2:]}
    assert "total 1 cm |" in rows["JPG-50"]
    assert "total 2 cm |" in rows["JPG-5"]


def test_roads_come_to_what_the_paper_says_and_to_the_town_s_times_their_length(tmp_path: Path) -> None:
    told = {**FIGURES[1], "name": "bytes a kilometre of road", "measured": 2000.0}
    cost = {**FIGURES[1], "name": "core-seconds a kilometre of road", "measured": 3.6}
    held = Results("world-cities", "x", "in", {}, MACHINE, "1.0", {"0": Measured(1.0, 1.0, 0.0, [told, cost])})
    held.write(tmp_path)
    county, fold, country, _ = roads.roads_table(tmp_path)[2:]
    assert "| 900 GB | 1.51 GB | 67.5 MB |" in county  # 33,750 km
    assert "34 core-hours" in fold
    assert "| 168 TB |" in country
    assert "not measured: `make evidence ONLY=world-cities-fine`" in county


def test_a_changed_figure_changes_the_page(tmp_path: Path) -> None:
    page = "Before.\n<!-- evidence: house-lines -->\nold\n<!-- end of evidence -->\nAfter 3 cm, <= 5 cm, 7 % of 12.\n"
    results().write(tmp_path)
    first = pages.filled(page, tmp_path)
    assert "| answered | 97.25 % | >= 95 | met |" in first
    assert pages.filled(first, tmp_path) == first
    assert first.startswith("Before.\n<!-- evidence")
    results("house-lines", 94.0).write(tmp_path)
    assert "| answered | 94 % | >= 95 |" in pages.filled(first, tmp_path)
    results("house-lines", 94.0, 98.0).write(tmp_path)
    assert "| answered | 96 ± 2 % |" in pages.filled(first, tmp_path)
    assert pages.typed_figures(first) == 2  # the target and the bare number are none
    with pytest.raises(ConfigError, match="no run house-gone"):
        pages.filled(page.replace("house-lines", "house-gone"), tmp_path)
    assert "Without a results file yet: `make evidence ONLY=house-import`." in pages.filled(
        page.replace("house-lines", "house-import"), tmp_path
    )
    with pytest.raises(ConfigError, match="no table 'table9'"):
        pages.filled(page.replace("house-lines", "house-lines table=table9"), tmp_path)


def test_a_figure_in_a_sentence_is_taken_from_the_results(tmp_path: Path) -> None:
    page = "It takes <!-- house-lines: answered | {:.1f} % -->9 %<!-- . --> and 4 cm.\n"
    results("house-lines", 94.0, 98.0).write(tmp_path)
    filled = pages.filled(page, tmp_path)
    assert filled == page.replace("9 %<", "96.0 %<")
    assert pages.filled(filled, tmp_path) == filled
    assert pages.typed_figures(filled) == 1
    row = pages.filled(f"| a | {page.strip()} |\n", tmp_path)
    assert row == f"| a | {filled.strip()} |\n".replace("answered | {", r"answered \| {")
    assert pages.filled(row, tmp_path) == row
    for wrong, said in (("house-lines: other |", "hold no 'other'"), ("house-import: answered |", "no results file")):
        with pytest.raises(ConfigError, match=said):
            pages.filled(page.replace("house-lines: answered |", wrong), tmp_path)
    kept = results()
    detail = {"table": "table1", "method": "pq4", "median": 0.25}
    kept.seeds["0"].figures.append({**FIGURES[1], "name": "x: pq4", "detail": detail})
    assert line_of(kept, "pq4", "median") == 0.25


def test_what_is_no_number_is_kept_as_nothing(tmp_path: Path) -> None:
    kept = results()
    detail = {"table": "online", "method": "png16", "median_cm": float("inf"), "fail_100_m_pct": float("nan")}
    kept.seeds["0"].figures.append({**FIGURES[1], "name": "png16", "detail": detail})
    kept.write(tmp_path)
    read = read_results(kept.name, tmp_path)
    assert read is not None
    told = read.seeds["0"].figures[-1]["detail"]
    assert (told["median_cm"], told["fail_100_m_pct"]) == ("inf", None)
    assert "| png16 | inf |  |" in "\n".join(pages.table_of(read, "online"))


def test_what_is_asked_and_code_are_no_measured_figures() -> None:
    asked = "<!-- protocol -->\nWithin 5 cm.\n<!-- end of protocol -->\n```sh\nfold --budget 1MB\n```\nOf `30 kB`.\n"
    assert pages.typed_figures(asked) == 0
    assert pages.typed_figures(asked + "It errs by 5 cm in 30 kB.\n") == 2


def test_code_is_what_a_module_reaches_without_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "benchmarks"
    package.mkdir()
    for name, text in {
        "__init__": "",
        "a": "from benchmarks.b import x\n",
        "b": '"""Old."""\nx = 1\n',
        "c": "",
    }.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.setattr(seals, "ROOT", tmp_path)
    monkeypatch.setattr(seals, "PACKAGES", {"benchmarks": package, "foldmap": tmp_path / "none"})

    def seal() -> str:
        seals._imported.cache_clear()
        seals._code.cache_clear()
        return seals.code_seal("benchmarks.a")

    assert seals.reachable("benchmarks.a") == ["benchmarks.a", "benchmarks.b"]
    first = seal()
    (package / "b.py").write_text('"""New words."""\n\nx = 1  # one\n')
    (package / "c.py").write_text("y = 2\n")
    assert seal() == first
    (package / "b.py").write_text("x = 2\n")
    assert seal() != first


def test_kept_files_are_compared_as_code_and_as_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seals, "ROOT", tmp_path)
    (tmp_path / "src").mkdir()
    code, data = tmp_path / "src" / "a.py", tmp_path / "src" / "weights.bin"
    code.write_text('"""Old."""\nx = 1\n')
    data.write_bytes(b"1")
    kept = seals.seals_of([code, data]) | seals.tree_seals(["src"]) | seals.tree_seals(["src"], by_code=True)
    assert list(kept) == ["src/a.py", "src/weights.bin", "src/**bytes", "src/**"]

    def changed() -> list[str]:
        for one in (seals._code, seals.folder_seal, seals._tree_seal):
            one.cache_clear()
        return [name for name, was in kept.items() if seals.changed({name: was})]

    assert changed() == []
    code.write_text('"""New words."""\n\nx = 1  # one\n')
    assert changed() == ["src/**bytes"]
    code.write_text("x = 2\n")
    assert changed() == ["src/a.py", "src/**bytes", "src/**"]
    code.write_text("x = 1\n")
    data.unlink()
    assert changed() == ["src/weights.bin", "src/**bytes", "src/**"]


def test_a_process_tells_what_it_used() -> None:
    told = """if True:
        import json, subprocess, sys
        from benchmarks.evidence import seen as room
        room.tree_seals = lambda folders, by_code: {f"{one}/**": "" for one in folders}  # the true one reads them all
        seen = room.Seen()
        import foldmap.version, foldmap.errors
        open("README.md").close()
        open("/dev/null", "w").close()
        alone = seen.code()
        subprocess.run([sys.executable, "-c", ""])
        print(json.dumps([sorted(alone), sorted(seen.code().keys() - alone.keys())]))
    """
    ran = subprocess.run([sys.executable, "-c", told], cwd=seals.ROOT, capture_output=True, text=True, check=True)
    alone, besides = json.loads(ran.stdout)
    assert alone == ["README.md", "benchmarks/__init__.py", "src/foldmap/__init__.py", "src/foldmap/errors.py"]
    assert besides == ["src/**"]


def test_compiled_code_is_no_data_of_a_room(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").mkdir()
    for name in ("a.py", "weights.bin", "__pycache__/a.kernel-1.py311.nbi", "__pycache__/a.pyc"):
        (tmp_path / name).write_text("x")
    assert list(seals._data(tmp_path)) == [tmp_path / "weights.bin"]


def test_a_run_is_done_until_its_inputs_change_and_goes_on_with_the_next_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run("house-lines", "house", "lines", "benchmarks.house.tree", ("data",), seeds=2)
    shared, kept = tmp_path / "shared", tmp_path / "results"
    assert "no recordings" in evidence.state_of(run, shared, 1, kept)
    (shared / "data").mkdir(parents=True)
    assert evidence.state_of(run, shared, 1, kept) == "never measured"
    asked: list[str] = []

    code = {"pyproject.toml": seals.folder_seal(seals.ROOT / "pyproject.toml")[:8]}

    def measured(run: Run, seed: str, *_: object) -> tuple[Measured, dict[str, str]] | None:
        asked.append(seed)
        return None if asked == ["0", "1"] else (Measured(1.0, 1.0, 0.0, FIGURES), code)

    monkeypatch.setattr(evidence, "_measured", measured)
    assert not evidence.measure(run, shared, 1, tmp_path / "work", kept)  # it failed at the second seed
    assert evidence.state_of(run, shared, 1, kept) == "1 of 2 seeds"
    assert evidence.measure(run, shared, 1, tmp_path / "work", kept)
    assert asked == ["0", "1", "1"]
    assert evidence.state_of(run, shared, 1, kept) == "done"
    found = read_results("house-lines", kept)
    assert found is not None
    assert found.code == code
    replace(found, code={**code, "README.md": "0" * 8, "gone.py": "0" * 8}).write(kept)
    assert evidence.state_of(run, shared, 1, kept) == "the code is another: README.md and 1 more"
    replace(found, command="python -m benchmarks.scoreboard --only another --threads 1").write(kept)
    assert evidence.state_of(run, shared, 1, kept) == "it was asked otherwise"
    replace(found, code={}).write(kept)
    assert evidence.state_of(run, shared, 1, kept) == "nobody knows of which code"
    (kept / "house-lines.json").write_text("{}")
    with pytest.raises(ConfigError, match="does not hold results"):
        evidence.state_of(run, shared, 1, kept)


def test_a_row_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    (run,) = chosen_runs(["house-readme"])
    assert evidence.measure(run, tmp_path, 1, tmp_path / "work", tmp_path / "results")
    held = json.loads((tmp_path / "results" / "house-readme.json").read_text())
    (one,) = held["seeds"].values()
    assert [line["name"] for line in one["figures"]] == ["lines of the README", "pictures missing on its first screen"]
    assert one["figures"][0]["measured"] == (pages.ROOT / "README.md").read_text().count("\n")
    assert one["processor_s"] > 0
    kept = read_results("house-readme", tmp_path / "results")
    assert kept is not None
    assert {"benchmarks/house/tree.py", "benchmarks/lines.py", "src/**bytes", "README.md/**bytes"} <= set(kept.code)
    assert not any(name.startswith(("src/foldmap/lidar", "src/foldmap/version")) for name in kept.code)
    assert evidence.state_of(run, tmp_path, 1, tmp_path / "results") == "done"
    assert not re.search(r"/(tmp|home|work)\b", json.dumps(held))
