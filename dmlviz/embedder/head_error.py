"""The refusal of a head that is not a sum over cells."""


class HeadError(ValueError):
    """A head cannot be folded into local embeddings and an offset that is the same for every image.

    Attributes:
        layer: Name of the first layer that breaks it: the qualified name of the module and its type, or the
            operation and the module whose code it stands in.
    """

    def __init__(self, message: str, layer: str = "") -> None:
        super().__init__(message)
        self.layer = layer
