import json
import os
import re

import pytest

from meddistill.errors import RunError
from meddistill.report import write_report
from meddistill.training.run_folder import RunFolder
from tests.report.builders import build_run, write_gallery, write_two_class_gallery
from tests.report.markup import check_accessible_and_alone

HOSTILE = "<script>alert(\"x\")</script> & 'co'"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return build_run(tmp_path_factory.mktemp("runs") / "pcd-s0", first_case=HOSTILE)


@pytest.fixture(scope="module")
def source(run):
    return write_report(run).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source):
    return check_accessible_and_alone(source)


def plain(text):
    """Without the unbreakable and narrow spaces that keep numbers together."""
    return re.sub(r"\s+", " ", text)


def test_the_page_is_the_report_of_the_folder_and_small(run, source):
    assert run.report.stat().st_size < 3_000_000
    assert "<!DOCTYPE html>" in source


def test_the_verdict_names_student_teacher_method_score_and_counts(run, page):
    dice = json.loads(run.summary().read_text())["metrics"]["dice"]
    (verdict,) = page.all("p", **{"class": "verdict"})
    assert plain(verdict.text) == (
        "The student pcd/unet (487 k parameters), taught by teacher-s0 with paced distillation (tpl_uncert), "
        f"reaches a mean Dice of {dice['mean']:.3f} (95 % CI {dice['low']:.3f} to {dice['high']:.3f}) "
        "over 85 of 100 test cases: 2 missed, 5 false alarms, 15 empty in truth and prediction."
    )


def test_key_figures_come_from_the_files(run, page):
    metrics = json.loads(run.summary().read_text())["metrics"]
    cards = {card.text: None for card in page.all("li") if "ul" in card.inside}
    text = plain(" ".join(cards))
    for shown in (
        f"Dice{metrics['dice']['mean']:.3f}",
        f"HD95 (px){metrics['hd95']['mean']:.2f}",
        "Teacher’s Dice0.871on 40 selection cases",
        "Parameters487 k15.9 times fewer than the teacher",
        "Training time12.6 min40 epochs, epoch 31 chosen, counted from 0",
    ):
        assert shown in text


def test_the_sections_stand_in_their_order(page):
    assert [section.attributes["id"] for section in page.all("section")] == [
        "key", "training", "reliability", "gallery", "table", "config", "environment",
    ]  # fmt: skip


def test_every_drawing_is_there_and_says_what_it_shows(page):
    labels = [svg.attributes["aria-label"] for svg in page.all("svg", **{"class": "drawing"})]
    assert len(labels) == 7
    assert any("Epoch 31 was chosen" in label for label in labels)
    assert any("threshold from 0.9 to 0" in label for label in labels)
    assert any("Teacher, before calibration: ECE over all pixels 0.0412" in plain(label) for label in labels)


def test_every_case_of_the_gallery_has_five_panels(page):
    assert len(page.all("article")) == 9
    assert len(page.all("svg", **{"class": "panel"})) == 45


def test_the_case_table_has_all_rows_and_headings_that_sort(page):
    rows = [row for row in page.all("th", scope="row") if "case (" in row.text]
    assert len(rows) == 99
    headings = [h for h in page.all("th", scope="col") if "aria-sort" in h.attributes]
    assert {h.attributes["aria-sort"] for h in headings} == {"none"}
    buttons = [b for b in page.all("button") if b.inside[-1] == "th"]
    assert len(buttons) == len(headings)
    assert page.all("input", **{"data-filter": "case-table"})
    assert page.all("label", **{"for": "case-filter"})


def test_text_from_files_is_escaped(source, page):
    assert "<script>alert" not in source
    assert any(cell.text == HOSTILE for cell in page.all("th", scope="row"))
    assert len(page.all("script")) == 1


def test_config_environment_and_policy_are_shown(page):
    (config,) = [code for code in page.all("code") if "every: 5" in code.text]
    assert "temperature: 4.5" in config.text
    pairs = dict(zip((e.text for e in page.all("dt")), (e.text for e in page.all("dd")), strict=True))
    assert pairs["versions.torch"] == "2.12.1"
    assert pairs["split_cases.train"].startswith("240 entries: train/000")
    assert any("left out of the means" in p.text for p in page.all("p"))


def test_it_adapts_to_phone_and_dark_mode(source):
    assert 'name="viewport" content="width=device-width' in source
    assert "prefers-color-scheme: dark" in source
    assert "@media print" in source


def test_an_empty_folder_makes_a_page_that_says_what_is_missing(tmp_path):
    page = check_accessible_and_alone(write_report(tmp_path).read_text(encoding="utf-8"))
    notes = [item.text for item in page.all("li")]
    assert "history.csv is not in the run folder: there are no training curves." in notes
    assert (
        "evaluation/test-summary.json is not in the run folder: the test scores have not been taken." in notes
    )


def test_a_running_training_says_so(tmp_path):
    run = build_run(tmp_path / "r", cases=12)
    for file in (run.summary(), run.scores(), run.gallery()):
        file.unlink()
    run.write_state(state="running", epochs_done=12)
    page = check_accessible_and_alone(write_report(run).read_text(encoding="utf-8"))
    (notice,) = page.all("p", **{"class": "notice"})
    assert notice.text == (
        "This run is not finished (running, 12 of 40 epochs done); its numbers will change."
    )
    assert "has no test scores yet" in page.all("p", **{"class": "verdict"})[0].text
    assert len(page.all("svg", **{"class": "drawing"})) == 5


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"[1, 2"])
def test_broken_files_are_named_and_do_not_stop_the_page(tmp_path, content):
    run = build_run(tmp_path / "r", cases=6)
    broken = (
        run.config,
        run.environment,
        run.state,
        run.model,
        run.calibration,
        run.summary(),
        run.gallery(),
    )
    for file in broken:
        file.write_bytes(content)
    page = check_accessible_and_alone(write_report(run).read_text(encoding="utf-8"))
    notes = [item.text for item in page.all("li")]
    assert "evaluation/test-gallery.npz cannot be read; what it would tell is left out." in notes
    assert "model.json cannot be read; what it would tell is left out." in notes


def test_a_run_without_teacher_has_no_teacher_panels(tmp_path):
    run = build_run(tmp_path / "r", cases=6)
    write_gallery(run.gallery(), ["a", "b", "c"], teacher=False, size=48)
    run.calibration.unlink()
    page = check_accessible_and_alone(write_report(run).read_text(encoding="utf-8"))
    captions = [caption.text for caption in page.all("figcaption")]
    assert "Teacher" not in captions
    assert captions.count("Student") == 3


def test_several_classes_are_told_apart_by_colour(tmp_path):
    run = build_run(tmp_path / "r", cases=6)
    write_two_class_gallery(run.gallery())
    page = check_accessible_and_alone(write_report(run).read_text(encoding="utf-8"))
    (legend,) = page.all("p", **{"class": "legend"})
    assert legend.text.split() == ["lesion", "class", "2", "Dashed:", "truth"]
    assert page.all("path", **{"class": "class-2"})


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(RunError, match="is not a folder"):
        write_report(tmp_path / "none")


def test_a_failed_write_keeps_the_old_page(tmp_path, monkeypatch):
    run = RunFolder(tmp_path)
    run.report.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunError, match="No space left"):
        write_report(run)
    assert run.report.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_the_same_files_give_the_same_page(tmp_path):
    run = build_run(tmp_path / "r", cases=6)
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


def test_the_stored_logits_are_compared_with_the_live_teacher(page):
    text = plain(" ".join(item.text for item in page.all("dl")))
    assert "544 rows, 2.1 MB as uint8" in text
    assert "|dp| at most 0.6100, 0.0123 on average (8 cases)" in text
    assert "no change of the image" in text


def test_a_transferal_set_has_its_own_section(tmp_path):
    folder = build_run(tmp_path / "run")
    rules = [{"name": "target_pixels", "removes": "fewer than 256 target pixels", "removed": 3, "alone": 5}]
    folder.exclusion.write_text(json.dumps({"total": 12, "kept": 9, "rules": rules}))
    environment = json.loads(folder.environment.read_text())
    environment["selection"] = "agreement with the teacher"
    folder.environment.write_text(json.dumps(environment))
    shown = check_accessible_and_alone(write_report(folder).read_text(encoding="utf-8"))
    (section,) = shown.all("section", id="exclusion")
    text = plain(section.text)
    assert "learnt from 9 of 12 images" in text
    assert "the selection split is agreement with the teacher, not with the truth" in text
    assert "target_pixels" in text
    assert "fewer than 256 target pixels" in text


def test_other_runs_have_no_such_section(page):
    assert not page.all("section", id="exclusion")


def test_few_patients_are_warned_of_beside_the_scores(tmp_path, source):
    assert "Few groups" not in source
    run = build_run(tmp_path / "run", cases=9)
    summary = json.loads(run.summary().read_text(encoding="utf-8"))
    summary["counts"]["groups"] = 5
    run.summary().write_text(json.dumps(summary), encoding="utf-8")
    page = check_accessible_and_alone(write_report(run).read_text(encoding="utf-8"))
    notices = [item.text for item in page.all("p", **{"class": "notice"})]
    assert any(notice.startswith("Few groups (5, fewer than 20)") for notice in notices)
