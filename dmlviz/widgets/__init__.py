"""The widgets room: what people look at in a notebook, and its export to one HTML file.

State, and packing for the page; no arithmetic of its own. The page's sources lie in `frontend/`.
"""

from dmlviz.widgets.explorer import Explorer

__all__ = ["Explorer"]
