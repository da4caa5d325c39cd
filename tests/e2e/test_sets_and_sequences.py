"""Targets that are no class, through a real stack: letters in sounds, boxes on pictures, a torch Dataset as the source.

`tests/unit/drafting/test_begun.py` and `tests/unit/sources/test_wrapped_dataset.py` have it over stores in memory.
"""

from __future__ import annotations

import csv
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlratchet.infra.serving.local import LocalServers

from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.full, pytest.mark.timeout(1800)]
MEDIA = {"ctc": "audio/wav", "detector": "image/png"}
WRAPPED = REPOSITORY / "docs" / "examples" / "wrapped"


def asked(stack: Any, name: str, **request: Any) -> dict[str, Any]:
    """The one prediction of a request."""
    url = LocalServers(Path(stack.home)).url(name)
    assert url is not None
    reply = httpx.post(f"{url}/predict", timeout=120, **request)
    assert reply.status_code == 200, reply.text
    (prediction,) = reply.json()["predictions"]
    return dict(prediction)


@pytest.mark.parametrize("like", list(MEDIA))
def test_what_new_writes_is_served_and_a_second_version_is_held_against_the_first(stack: Any, like: str) -> None:
    name = f"served-{like}"
    told = stack.json("new", name, "--like", like)
    folder = stack.project / told["data"]
    stack("upload", name, str(folder))
    first = stack.json("run", name)
    assert (first["outcome"], first["version"]) == ("promoted", 1), first

    rows = list(csv.reader((folder / "labels.csv").read_text().splitlines()))[1:41]
    right = 0
    for file, label in rows:
        data = (folder / file).read_bytes()
        answer = asked(stack, name, content=data, headers={"content-type": MEDIA[like]})
        if like == "ctc":
            right += answer["text"] == label
        else:
            right += sorted(one["class"] for one in answer["shapes"]) == sorted(
                one.split()[0] for one in label.split(";")
            )
    assert right > 25
    field = {"ctc": "sound", "detector": "picture"}[like]
    assert asked(stack, name, files={field: (file, data)}) == answer
    assert stack.json("predict", name, str(folder / file))["predictions"] == [pytest.approx(answer)]
    refused = httpx.post(
        f"{LocalServers(Path(stack.home)).url(name)}/predict", content=b"no such file", timeout=120,
        headers={"content-type": MEDIA[like]},
    )  # fmt: skip
    assert refused.status_code == 422, refused.text
    assert stack.json("data", name)["rows"]["train"] > 200

    second = stack.json("run", name, "--set", "train.seed=1")
    assert second["version"] == 2, second
    decisions = {d["decision"]["gate"]: d["decision"] for d in stack.json("decision", name, "2")}
    (compared,) = [c for c in decisions["champion"]["checks"] if c["kind"] == "non_inferiority"]
    assert compared["verdict"] == "pass"
    assert stack.json("compare", name, "1", "2")["a"]
    assert stack.json("audit", name, "--replay")["passed"]


def test_spoken_digits_are_learnt_as_the_page_says(stack: Any) -> None:
    """Real recordings; skipped aloud where the packages cannot be had."""
    page = (REPOSITORY / "docs" / "bring-your-own.md").read_text().split("### Spoken digits\n", 1)[1]
    shutil.copy(REPOSITORY / "docs" / "examples" / "spoken" / "make_sounds.py", stack.project)
    for line in page.split("```sh\n", 1)[1].split("```", 1)[0].splitlines():
        program, *arguments = shlex.split(line.replace("deployments/pipelines", str(stack.pipelines)))
        if program == "ratchet" and arguments[0] == "run":
            report = stack.json(*arguments)
        elif program == "ratchet":
            stack(*arguments)
        else:
            program = sys.executable if program == "python" else program
            done = subprocess.run([program, *arguments], cwd=stack.project, capture_output=True, text=True, check=False)
            if "PackageUnavailableError" in done.stderr:
                pytest.skip(f"no recordings: {done.stderr.splitlines()[-1]}")
            assert done.returncode == 0, done.stderr
    assert report["outcome"] == "promoted", report
    rows = list(csv.reader((stack.project / "data" / "spoken" / "labels.csv").read_text().splitlines()))[1:21]
    said = [
        asked(stack, "spoken", content=(stack.project / "data" / "spoken" / file).read_bytes(),
              headers={"content-type": "audio/wav"})["text"]
        for file, _, _ in rows
    ]  # fmt: skip
    assert sum(one == text for one, (_, text, _) in zip(said, rows, strict=True)) >= 16


def test_a_torch_dataset_is_a_source_and_its_champion_answers_an_item(stack: Any) -> None:
    shutil.copy(WRAPPED / "curves.py", stack.project)
    shutil.copy(WRAPPED / "curves.yaml", stack.pipelines)
    subprocess.run([sys.executable, str(WRAPPED / "make_rows.py"), "500"], cwd=stack.project, check=True)
    stack("upload", "curves", "curves.npz")
    report = stack.json("run", "curves")
    assert report["outcome"] == "promoted", report
    rising = [at / 8 - 1 for at in range(16)]
    assert asked(stack, "curves", json={"instances": [{"points": rising}]})["class"] == "rising"
    assert asked(stack, "curves", json={"instances": [{"points": rising[::-1]}]})["class"] == "falling"
