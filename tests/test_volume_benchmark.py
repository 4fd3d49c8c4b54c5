import json

import volume_prediction


def test_it_measures_both_kinds_of_network_and_writes_a_page(tmp_path):
    files = {"--json": tmp_path / "raw.json", "--markdown": tmp_path / "page.md"}
    work = [
        "--shape",
        "20",
        "24",
        "8",
        "--classes",
        "2",
        "--patch",
        "4",
        "16",
        "16",
        "--side",
        "32",
        "--threads",
        "1",
    ]
    volume_prediction.main([*work, *(str(word) for pair in files.items() for word in pair)])
    rows = json.loads(files["--json"].read_text())["rows"]
    assert [row["network"].split()[0] for row in rows] == ["smp/unet", "monai/unet,"]
    for row in rows:
        assert 0 < row["before_bytes"] <= row["peak_bytes"] < 4e9
        assert row["seconds"] > 0
    page = files["--markdown"].read_text()
    assert "one volume of 20 x 24 x 8 voxels" in page
    assert len([line for line in page.splitlines() if line.startswith("|")]) == 4
