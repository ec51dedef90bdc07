"""FAISS, loaded once, with the one warning of its binding layer kept from becoming an error.

From Python 3.12 on, SWIG's built-in types raise a `DeprecationWarning` while FAISS is imported. Under
"warnings are errors" that would make the import itself fail, so exactly that message is passed over, and
only during the import.
"""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings(
        "ignore", message=r"builtin type \w+ has no __module__ attribute", category=DeprecationWarning
    )
    import faiss

__all__ = ["faiss"]
