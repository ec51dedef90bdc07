"""`python -m dmlviz` is the same as the command `dmlviz`."""

from dmlviz.cli import main

if __name__ == "__main__":
    main(prog_name="dmlviz")
