"""Where on a tape the tokens of a transformer stand, and which of them are patches of the image."""

from dmlviz.embedder.tape import IMAGE, Ref, Tape

_MOST_PREFIX = 16  # class token, distillation token, registers


def places_of_tokens(tape: Tape, patches: int, after: Ref = IMAGE) -> dict[str, Ref]:
    """Layers that give tokens (1, L, C) which the whole output follows from, in the order they run.

    Of several modules that return the same tokens the innermost gives the name.

    Args:
        tape: The recorded model.
        patches: How many patches the image has; the last so many tokens stand for them, in row order.
        after: Only layers that depend on this tensor.
    """
    found: dict[str, Ref] = {}
    behind = tape.reached_from(after)
    seen: set[Ref] = set()
    for name, call, ref in tape.module_outputs:
        if (
            not name
            or call
            or ref.step not in behind
            or ref == tape.output
            or not is_tokens(tape, ref, patches)
        ):
            continue
        if ref in seen or not tape.everything_passes(ref, IMAGE, tape.output):
            continue
        found[name.removeprefix("model.")] = ref
        seen.add(ref)
    return found


def is_tokens(tape: Tape, ref: Ref, patches: int) -> bool:
    """Whether a tensor is (1, L, C) with one token per patch and a few in front."""
    shape = tape.value(ref).shape
    return len(shape) == 3 and shape[0] == 1 and 0 <= shape[1] - patches <= _MOST_PREFIX and patches > 1


def attention_after(tape: Tape, ref: Ref) -> bool:
    """Whether a softmax, so an attention, lies between a tensor and the output."""
    return any("softmax" in step.name for step in tape.between(ref, tape.output))
