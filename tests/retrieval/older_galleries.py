"""Galleries as earlier versions wrote them."""

import hashlib
import json
import os

from dmlviz.retrieval.stored_gallery import check_of


def make_older(path, number, images, queries=None):
    """Turn a gallery that was just built at a path into what the given format (1, 2 or 3) wrote of it."""
    sidecar = json.loads((path / "gallery.json").read_text())
    for role, pictures in (("images", images), ("queries", queries)):
        if role not in sidecar["files"]:
            continue
        arrow, name = sidecar["files"][role], f"{role}.json"
        (path / arrow).unlink()
        (path / name).write_text(json.dumps(table_in_json(pictures, path)))
        sidecar["files"][role] = name
        for entries in (sidecar["bytes"], sidecar["sha256"]):
            del entries[arrow]
        sidecar["bytes"][name] = (path / name).stat().st_size
        sidecar["sha256"][name] = hashlib.sha256((path / name).read_bytes()).hexdigest()
    if number < 3:
        for role in ("lengths", "query_lengths"):
            if role in sidecar["files"]:
                (path / sidecar["files"][role]).unlink()
                del sidecar["sha256"][sidecar["files"][role]]
        for entry in ("index", "files", "bytes"):
            del sidecar[entry]
    if number == 1:
        del sidecar["queries"], sidecar["leave_out"]
    del sidecar["check"]
    sidecar["format"] = number
    (path / "gallery.json").write_text(json.dumps(sidecar | {"check": check_of(sidecar)}))


def table_in_json(images, gallery):
    table = images.table.drop(columns=["name", "label"])
    files = images.files
    return {
        "names": list(images.names),
        "labels": None if images.labels is None else images.labels.tolist(),
        "columns": {name: table[name].tolist() for name in table.columns},
        "files": None if files is None else [str(file) for file in files],
        "files_from_here": None if files is None else [os.path.relpath(file, gallery) for file in files],
    }
