"""`dmlviz search` and `dmlviz evaluate`: a gallery on disk is opened with the network that made it, and asked."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from dmlviz.cli.model_file import read_model
from dmlviz.cli.telling import as_json as json_of
from dmlviz.cli.telling import told

if TYPE_CHECKING:
    import pandas as pd

    from dmlviz.retrieval import Evaluation, Gallery, ProtocolEvaluation, Ranking

_STOPPED = "Nothing was changed."


def search_gallery(
    gallery: Path, query: str, k: int, weights: Path | None, as_json: bool, out: Path | None
) -> None:
    """Rank the images of a gallery and print or write the ranking.

    Raises:
        click.ClickException: Something is wrong with what was given; the message says what.
    """
    with told(_STOPPED):
        target = _checked(out)
        opened = _opened(gallery, weights)
        ranking = opened.search(int(query) if query.isascii() and query.isdecimal() else Path(query), k)
        if target is not None:
            _write(ranking.to_frame(), target)
    if as_json:
        asked = {"id": ranking.query, "label": ranking.query_label, "given": query}
        rows = ranking.to_frame().to_dict("records")
        said = {"gallery": str(gallery), "similarity": opened.similarity, "left_out": ranking.left_out}
        cut = {"too_few": ranking.too_few}
        click.echo(json_of({**said, **cut, "query": asked, "ranking": rows}))
    elif target is None:
        click.echo(_table(ranking))


def evaluate_gallery(
    gallery: Path, protocol: str | None, weights: Path | None, as_json: bool, per_query: Path | None
) -> None:
    """Judge a gallery and print what was found; the values of each query go into a file.

    Raises:
        click.ClickException: Something is wrong with what was given; the message says what.
    """
    with told(_STOPPED):
        target = _checked(per_query)
        if protocol is not None:
            _check_protocol(protocol)
        opened = _opened(gallery, weights)
        if protocol is None:
            found = opened.evaluate()
            said = _said_of_evaluation(found)
            frame = opened.per_query() if target is not None else None
        else:
            judged = opened.evaluate(protocol=protocol)
            said = _said_of_protocol(judged)
            frame = frame_of(judged, opened) if target is not None else None
        if target is not None and frame is not None:
            _write(frame, target)
    if as_json:
        click.echo(json_of({"gallery": str(gallery), **said}))
    else:
        click.echo(repr(found if protocol is None else judged))


def frame_of(judged: "ProtocolEvaluation", gallery: "Gallery") -> "pd.DataFrame":
    """One row per query that was evaluated: query (its id), name, label, and the protocol's values of it."""
    import pandas as pd

    ids = np.asarray(judged.query_ids)
    labels = gallery.query_labels
    columns: dict[str, Any] = {
        "query": ids,
        "name": pd.Series([gallery.queries.names[i] for i in ids], dtype=object),
        "label": pd.Series([None] * len(ids) if labels is None else labels[ids].tolist(), dtype=object),
    }
    return pd.DataFrame(columns | {name: np.asarray(values) for name, values in judged.per_query.items()})


def _opened(gallery: Path, weights: Path | None) -> "Gallery":
    model = read_model(gallery, weights)
    from dmlviz.retrieval import Gallery

    return Gallery.open(gallery, model.embedder())


def _check_protocol(name: str) -> None:
    """Refuse, before the network is made, a protocol that cannot be applied here.

    Raises:
        ValueError: There is no such protocol, or it needs what only Python can give.
    """
    from dmlviz.retrieval.protocols import PROTOCOLS

    if name not in PROTOCOLS:
        raise ValueError(f"there is no protocol {name!r}; there is {', '.join(PROTOCOLS)}")
    needs = getattr(PROTOCOLS[name], "needs", ())
    if needs:
        raise ValueError(
            f"the protocol {name!r} needs {', '.join(needs)}, which cannot be given here; apply it in Python: "
            f"gallery.evaluate(protocol={name!r}, {needs[0]}=...)"
        )


def _checked(path: Path | None) -> Path | None:
    from dmlviz.retrieval.frames import checked_target

    return None if path is None else checked_target(path)


def _write(frame: "pd.DataFrame", path: Path) -> None:
    from dmlviz.retrieval.frames import written

    written(frame, path)
    click.echo(f"Wrote {path}.", err=True)


def _table(ranking: "Ranking") -> str:
    lines = [f"rank  similarity  {'id':>8}  name"]
    for n, (i, similarity, name) in enumerate(
        zip(ranking.ids.tolist(), ranking.similarities.tolist(), ranking.names, strict=True), start=1
    ):
        hit = "" if ranking.hits is None else ("  hit" if ranking.hits[n - 1] else "  miss")
        label = "" if ranking.labels is None else f"  ({ranking.labels[n - 1]})"
        lines.append(f"{n:>4}  {similarity:>+10.6f}  {i:>8}  {name}{label}{hit}")
    if ranking.too_few:
        lines.append(f"{len(ranking) + ranking.too_few} were asked for; there are no more.")
    return "\n".join(lines)


def _said_of_evaluation(found: "Evaluation") -> dict[str, Any]:
    values = {f"recall@{k}": value for k, value in found.recall.items()}
    values |= {"precision@1": found.precision_at_1, "R-precision": found.r_precision, "mAP@R": found.map_at_r}
    return {"protocol": None, "values": values, "queries": len(found.query_ids), "dropped": found.dropped}


def _said_of_protocol(judged: "ProtocolEvaluation") -> dict[str, Any]:
    return {
        "protocol": judged.protocol,
        "values": judged.values,
        "definition": judged.definition,
        "queries": len(judged.query_ids),
        "dropped": judged.dropped,
        "tied": judged.tied,
    }
