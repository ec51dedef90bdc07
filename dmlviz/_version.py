"""The version of the package; read by the build and by `dmlviz --version`."""

__version__ = "0.1.0"
