"""report.html of a search: one self-contained page with its figures, pictures and trials."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edgetran_host.cosearch.figures import FORETOLD, FORETOLD_NOTE, TITLES, figure, marked
from edgetran_host.cosearch.history import Entry
from edgetran_host.cosearch.oracle import Oracle
from edgetran_host.cosearch.readable import summary
from edgetran_host.cosearch.sensitivity import sensitivities
from edgetran_host.cosearch.standing import outcome_of, sources_of, value_of
from edgetran_host.cosearch.views.drawing import (
    budget_picture,
    coordinates_picture,
    front_picture,
    importance_picture,
    kind_of,
    limits_picture,
    progress_picture,
)
from edgetran_host.cosearch.views.heading import heading
from edgetran_host.cosearch.views.importance import importances
from edgetran_host.cosearch.views.progress import progress
from edgetran_host.cosearch.views.searched import Searched
from edgetran_host.cosearch.views.telling import limit_sentence
from edgetran_host.job.report import STYLE
from edgetran_host.job.run_directory import write_atomically

SEED = 0  # the same trials give the same page
OWN_STYLE = (
    "td,th{padding:.25em .5em;font-size:13px}td:last-child{font-weight:400;background:none;"
    "white-space:normal;text-align:left}th:last-child{text-align:left}"
    "tr.chosen td{background:#eef6ee;font-weight:600}tr.over td{color:#8c959f}"
    ".figures{width:auto}.figures :last-child{text-align:right}body{max-width:1150px}"
)
ASSUMED = "ASSUMED: every figure is an oracle's. Nothing was trained, and no board was asked."
FRONT_NOTE = (
    "A point is a trial, hollow where it is over a limit. The line joins those that nothing cheaper"
    " beats in score, by these two figures alone."
)
COORDINATES_NOTE = (
    "A line is a trial, its layers averaged: the darker, the better by the goal; grey: over a"
    " limit; orange: the chosen one. Latency and energy are on logarithmic axes."
)
IMPORTANCE_NOTE = (
    "How much of what the models foretell over the whole space moves with one choice (total"
    " effect); shares add up to more than all where choices act together. Lines end where nine of"
    " ten draws of the models lie. Latency and energy are taken as logarithms."
)
LIMITS_NOTE = (
    "The score of the pair that the models would pick within each limit, the other limits as they"
    " are; nine of ten draws of the models lie in the band. What lies far from the trials is not"
    " known, so more may be had."
)
NO_CHANCE = (
    "No random search was paid for beside this one; an oracle's search is drawn with some:"
    " edgetran report RUN --oracle FILE."
)
CHANCE = (
    "Of both, the exact value of what looked best so far is drawn. Twenty random searches were"
    " simulated on the same oracle at the same budget."
)


def write_search_page(searched: Searched, path: Path, oracle: Oracle | None = None) -> Path:
    """`path`/report.html. oracle: the one that was searched, to draw chance beside it."""
    body = "".join(search_body(searched, oracle))
    page = (
        f"<!doctype html><meta charset=utf-8><title>{html.escape(heading(searched.brief))}</title>"
        f"<style>{STYLE}{OWN_STYLE}</style>{body}"
    )
    file = path / "report.html"
    write_atomically(file, page.encode())
    return file


def search_body(
    searched: Searched, oracle: Oracle | None = None, *, outlook: bool = True
) -> Iterator[str]:
    """What the page says, without its head. outlook: what models foretell, too; seconds more."""
    yield f"<h1>{html.escape(heading(searched.brief))}</h1>"
    method = searched.brief.request.get("method", "")
    by = f", searched by {method}" if method else ""
    yield f'<p class="note">{html.escape(f"{searched.name}{by}")}</p>'
    if searched.assumed:
        yield f'<p class="emulated">{ASSUMED}</p>'
    yield from _standing(searched)
    if not searched.tried:
        return
    yield _picture("Score against cost", front_picture(searched), FRONT_NOTE)
    found = progress(searched, oracle)
    note = NO_CHANCE if found.chance is None else CHANCE
    yield _picture("Best so far", progress_picture(found), note)
    if len(searched.trials) > 1:
        yield _picture("Designs", coordinates_picture(searched), COORDINATES_NOTE)
    if outlook:
        yield from outlook_body(searched)
    yield _picture("What was paid for", budget_picture(searched), _spent(searched))
    yield f"<h2>Trials</h2>{_trials(searched)}"
    foretold = sum(FORETOLD in sources_of(one).values() for one in searched.entries)
    if foretold:
        yield f'<p class="note">{FORETOLD_NOTE}: of {foretold} evaluations.</p>'
    request = html.escape(json.dumps(dict(searched.brief.request), indent=2, default=str))
    yield f"<h2>Request</h2><pre>{request}</pre>"


def _standing(searched: Searched) -> Iterator[str]:
    """The chosen pair's figures beside the reference's."""
    state = "ended" if searched.result else "has not ended"
    kept = len(searched.ranked)
    yield (
        f"<p>{len(searched.tried)} evaluations, {kept} pairs keep the limits, "
        f"{len(searched.front)} of them no other beats; the search {state}.</p>"
    )
    chosen = searched.chosen
    if chosen is None:
        yield "<p>Nothing keeps the limits yet.</p>"
        return
    pair = chosen.request.pair
    reference = searched.brief.goal.reference(pair.place)
    yield (
        f"<p>Chosen: trial {chosen.number} on <b>{html.escape(pair.place.id)}</b>, "
        f"{html.escape(summary(pair))}</p>"
    )
    again = len(searched.again(pair))
    means = _means(searched)
    last = (searched.again(pair) or [chosen])[-1]
    head = ["", "first seen", f"mean of {again} more", "is", "reference", "limit"]
    rows = [_row("th", head)]
    for name, title in TITLES.items():
        limit = None if name == "score" else getattr(searched.brief.goal.limits, name)
        first, of_reference = getattr(outcome_of(chosen), name), getattr(reference, name)
        seen = [marked(name, first, sources_of(chosen)), figure(name, means.get(name))]
        given = [figure(name, of_reference), figure(name, limit)]
        rows.append(_row("td", [title, *seen, sources_of(last).get(name, ""), *given]))
    yield f'<table class="figures">{"".join(rows)}</table>'


def _means(searched: Searched) -> dict[str, float | None]:
    """Of the chosen pair's new evaluations, as the result has them."""
    found = (searched.result or {}).get("chosen", [])
    return dict(found[0]["outcome"]) if found else {}


def outlook_body(searched: Searched) -> Iterator[str]:
    models = searched.models()
    if models is None:
        yield "<p>Too few trials have a score for models: importance and outlook are left out.</p>"
        return
    rng = np.random.default_rng(SEED)
    found = importances(models, searched.brief.product, rng)
    yield _picture("Which choices matter", importance_picture(found), IMPORTANCE_NOTE)
    limits = sensitivities(models, searched.brief.product, searched.trials, rng)
    if limits:
        yield _picture("What a looser limit would buy", limits_picture(limits), LIMITS_NOTE)
        told = (f"<li>{html.escape(limit_sentence(one))}</li>" for one in limits)
        yield f"<ul>{''.join(told)}</ul>"
    else:
        yield "<p>No limit was given, so none can be loosened.</p>"


def _spent(searched: Searched) -> str:
    trainings = sum(one.evaluation.training_cost for one in searched.entries if one.evaluation)
    thinking = sum(one.asked.suggesting_s for one in searched.entries)
    return (
        f"{len(searched.entries)} evaluations and {trainings:.2f} full trainings in all; "
        f"{thinking:.0f} s went into suggesting."
    )


def _trials(searched: Searched) -> str:
    head = ["trial", "board", "for", "fidelity", "value", *TITLES.values(), "trainings", "design"]
    rows = [_row("th", head)]
    chosen = searched.chosen
    for one in searched.entries:
        marks = "chosen" if chosen is not None and one.number == chosen.number else ""
        if one.evaluation and not searched.brief.goal.keeps(outcome_of(one)):
            marks = "over"
        rows.append(_row("td", _cells(searched, one), marks))
    return f"<table>{''.join(rows)}</table>"


def _cells(searched: Searched, one: Entry) -> list[str]:
    pair = one.request.pair
    cells = [str(one.number), pair.place.id, kind_of(one), one.request.fidelity]
    if one.evaluation is None:
        return [*cells, *[""] * (len(TITLES) + 2), one.error or summary(pair)]
    outcome = outcome_of(one)
    value = "" if outcome.score is None else f"{value_of(searched.brief, one):+.3f}"
    figures = [marked(name, getattr(outcome, name), sources_of(one)) for name in TITLES]
    cost = f"{one.evaluation.training_cost:.2f}"
    return [*cells, value, *figures, cost, summary(pair)]


def _row(tag: str, cells: Sequence[str], marks: str = "") -> str:
    found = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)
    return f'<tr class="{marks}">{found}</tr>' if marks else f"<tr>{found}</tr>"


def _picture(title: str, picture: bytes, note: str) -> str:
    source = base64.b64encode(picture).decode()
    return (
        f'<h2>{html.escape(title)}</h2><img alt="{html.escape(title)}" '
        f'src="data:image/png;base64,{source}"><p class="note">{html.escape(note)}</p>'
    )
