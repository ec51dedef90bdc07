"""`dmlviz evaluate-explanations`: what it prints, writes and keeps, and what it says where it cannot."""

import json

import pytest
from click.testing import CliRunner

from dmlviz.cli import evaluating, main
from dmlviz.explanation import METHODS
from dmlviz.faithfulness.evaluators import EVALUATORS

QUICK = ("--small", "--pairs", "4", "--methods", "decomposition,dist-cam", "--evaluators", "completeness")


def run(*arguments):
    return CliRunner().invoke(main, ("evaluate-explanations", *arguments), prog_name="dmlviz")


def test_help_names_every_option_and_the_way_for_ones_own_gallery():
    said = run("--help").output
    for word in [
        "--gallery",
        "--unseen",
        "--methods",
        "--budget SECONDS",
        "--resume FILE",
        "--json",
        "--out FILE",
    ]:
        assert word in said
    assert "For a gallery of your own use dmlviz.faithfulness.trust" in " ".join(said.split())
    assert "\b" not in said


def test_the_table_is_printed_and_nothing_else_on_stdout():
    result = run(*QUICK)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(
        "## birds\n\n4 pairs: each query with its best-ranked image of its own label"
    )
    assert "| | completeness ↓ | pairs | ms per pair |" in result.stdout
    assert "| `dist-cam` |" in result.stdout
    assert "drawing and embedding" in result.stderr
    assert "drawing and embedding" not in result.stdout


def test_galleries_come_one_after_the_other_and_again_with_other_families(tmp_path):
    result = run(
        *QUICK, "--gallery", "faces", "--gallery", "places", "--unseen", "--out", str(tmp_path / "t.md")
    )
    assert result.exit_code == 0, result.output
    page = (tmp_path / "t.md").read_text()
    heads = [line for line in page.splitlines() if line.startswith("## ")]
    families = ", families never looked at"
    assert heads == ["## faces", f"## faces{families}", "## places", f"## places{families}"]
    tables = page.split("## ")[1:]
    assert len({table.split("`decomposition`")[1].splitlines()[0] for table in tables}) == 4
    assert result.stdout == ""
    assert f"Wrote {tmp_path / 't.md'}." in result.stderr


def test_json_has_the_same_figures():
    found = json.loads(run(*QUICK, "--json").stdout, parse_constant=pytest.fail)["birds"]
    assert found["pairs"] == 4
    rows = {(row["figure"], row["method"]): row for row in found["figures"]}
    assert rows["missing", "decomposition"]["value"] < 1e-6 < rows["missing", "dist-cam"]["value"]
    assert found["skipped"] == []


def test_what_is_finished_is_kept_and_not_asked_again(tmp_path, monkeypatch):
    first = run(*QUICK, "--resume", str(tmp_path / "run.jsonl"))
    assert [path.name for path in tmp_path.iterdir()] == ["run.birds.jsonl"]
    from dmlviz.faithfulness.comparison_cells import Questions

    monkeypatch.setattr(Questions, "ask", lambda *_: pytest.fail("asked again"))
    assert run(*QUICK, "--resume", str(tmp_path / "run.jsonl")).stdout == first.stdout
    other = run(*QUICK, "--resume", str(tmp_path / "run.jsonl"), "--seed", "1")
    assert other.exit_code == 1
    assert "run.birds.jsonl holds findings about other pairs than asked for now" in other.output


def test_ctrl_c_says_how_to_go_on(tmp_path, monkeypatch):
    import dmlviz.faithfulness

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(dmlviz.faithfulness, "compare", stopped)
    result = run(*QUICK, "--resume", str(tmp_path / "run.jsonl"))
    assert result.exit_code == 1
    assert "stopped at birds. What is finished is kept in" in result.output
    assert "the same command goes on from there" in result.output
    assert "Error: stopped at birds.\n" in run(*QUICK).output


def test_costly_methods_are_asked_about_fewer_pairs(monkeypatch):
    import dmlviz.faithfulness

    asked = []

    def compare(gallery, *_, **options):
        asked.append(options)
        raise ValueError("enough")

    monkeypatch.setattr(dmlviz.faithfulness, "compare", compare)
    run("--small")
    run(
        "--small",
        "--methods",
        "rise",
        "--methods",
        "decomposition",
        "--evaluators",
        "insertion",
        "--budget",
        "9",
    )
    assert set(evaluating.DEAR_METHODS) <= set(METHODS)
    assert set(evaluating.DEAR_EVALUATORS) <= set(EVALUATORS)
    assert asked[0]["at_most"] == evaluating.DEAR_METHODS | evaluating.DEAR_EVALUATORS
    assert asked[0]["budget"] is None
    assert asked[1]["at_most"] == {"rise": 24, "insertion": 40}
    assert asked[1]["method_options"] == {"rise": {"masks": 100}}
    assert asked[1]["budget"] == 9.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--gallery", "cats"), "'cats' is not one of 'birds', 'faces', 'persons', 'places'"),
        ((*QUICK, "--methods", "grad-cma"), "birds: method must be one of 'decomposition', "),
        ((*QUICK, "--evaluators", "pointign"), "birds: evaluator must be one of "),
        (("--pairs", "0"), "0 is not in the range x>=1"),
        (("--budget", "0"), "0.0 is not in the range x>0"),
        ((*QUICK, "--out", "no/such/t.md"), "there is no folder 'no/such' for 't.md'; make it first."),
        ((*QUICK, "--resume", "no/such/r"), "there is no folder 'no/such' for 'r'; make it first."),
    ],
)
def test_errors_say_what_was_expected(arguments, words):
    result = run(*arguments)
    assert result.exit_code in (1, 2)
    assert words in result.output
    assert "Traceback" not in result.output
