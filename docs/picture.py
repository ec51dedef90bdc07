"""Make docs/explorer.png, the picture in the README: the product's own page, in an installed Chromium.

    python docs/picture.py

Points at the query's beak and waits until the match's map has followed.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

import dmlviz as dv

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--query", type=int, default=None, help="image id; the worst miss if not given")
    parser.add_argument("--rank", type=int, default=2, help="which of its matches is in focus")
    parser.add_argument("--part", default="beak", help="the part that the pointer rests on")
    parser.add_argument("--mode", default="overall", choices=["overall", "point", "margin"])
    parser.add_argument("--theme", default="light", choices=["light", "dark"])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("explorer.png"))
    asked = parser.parse_args()
    chromium = shutil.which("chromium") or sys.exit(
        "no chromium on the path; on Debian: apt-get install chromium"
    )

    gallery = dv.demo_gallery()
    misses = gallery.failures()
    query = int(misses["query"].iloc[0]) if asked.query is None else asked.query
    rows, cols = np.nonzero(gallery.images.mask(query, asked.part))
    row, col = rows.mean(), cols.mean()
    size = gallery.images.size
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        explorer = dv.Explorer(gallery, query=query, mode=asked.mode, focus=asked.rank)
        page_file = Path(folder) / "why.html"
        explorer.to_html(page_file, queries=[query, *misses["query"].head(9).astype(int)])
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(
            viewport={"width": 1240, "height": 860}, device_scale_factor=1.5, color_scheme=asked.theme
        )
        page.goto(page_file.as_uri())
        image = page.get_by_test_id("query-image")
        image.wait_for()
        page.wait_for_timeout(1500)
        box = image.bounding_box()
        page.mouse.move(
            box["x"] + (col + 0.5) / size * box["width"], box["y"] + (row + 0.5) / size * box["height"]
        )
        page.wait_for_timeout(500)
        page.get_by_test_id("explorer").screenshot(path=asked.out)
        browser.close()
    print(f"wrote {asked.out}: query {query}, {gallery.images.names[query]}")


if __name__ == "__main__":
    main()
