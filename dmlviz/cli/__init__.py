"""The command line: the doors into dmlviz for someone who has a terminal and no notebook open yet.

`dmlviz demo` is the first thing a newcomer runs. Everything heavy is imported inside the commands, so that
`dmlviz --help` answers at once.
"""

from dmlviz.cli.commands import main

__all__ = ["main"]
