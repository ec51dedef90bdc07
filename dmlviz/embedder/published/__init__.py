"""The networks of published checkpoints, under the names that their files use.

One module per architecture, `variants` for what is known of each file, `door` for `published_embedder`. The
architectures were read from the repositories that the docstrings name; none of their code is here.
"""
