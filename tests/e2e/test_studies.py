"""``studies`` of one paper: every claim with what was measured, as stored with the library."""

from __future__ import annotations

import pytest

from tutelage.studies import carry_out
from tutelage.studies.study import find_study


@pytest.mark.parametrize("key", ["68", "instruction-mining"])
def test_shows_every_claim_at_every_stored_scale(run, key):
    outcome = run("studies", key)
    assert (outcome.code, outcome.err) == (0, "")
    study = find_study(key).load()
    for scale in ("quick", "full"):
        stored = carry_out.stored_result(find_study(key), scale)
        assert stored is not None
        for name, claim in study.claims.items():
            assert f"Claim: {claim.sentence}" in outcome.out
            assert f"  {scale}: {stored['findings'][name]['sentence']}" in outcome.out
    assert f"Limits: {study.limits}" in outcome.out
    assert outcome.out.count("Exact: ") == 7


def test_gives_the_stored_results_as_they_are(run):
    found = run("studies", "68", "--json").json
    assert (found["paper"], found["slug"], list(found["stored"])) == (68, "instruction-mining", ["quick", "full"])
    assert found["stored"]["full"] == carry_out.stored_result(find_study("68"), "full")


def test_what_is_not_there_is_said(run, monkeypatch):
    assert 'No study "99"' in run("studies", "99").err
    monkeypatch.setattr(carry_out, "stored_result", lambda entry, scale: None)
    outcome = run("studies", "68")
    assert outcome.code == 2
    assert outcome.err.strip() == "Error: Nothing is stored of the study of paper 68; run tutelage study 68."
