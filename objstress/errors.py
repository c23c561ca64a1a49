"""The errors and warnings of objstress, and the check of a seed."""

__all__ = ["ConvergenceError", "InputError", "OutsideDomainWarning", "check_seed", "reason"]


class InputError(ValueError):
    """Invalid input; the message is one line that names what is wrong and the remedy."""


class ConvergenceError(RuntimeError):
    """An iteration did not converge; a load step keeps the last accepted state."""


class OutsideDomainWarning(UserWarning):
    """A law was evaluated at strains outside those to which it was fitted."""


def reason(error: Exception) -> str:
    """Why something failed, in one line; errors other than `InputError` are named by their type.

    Args:
        error: that was raised.
    """
    kind = "" if isinstance(error, InputError) else type(error).__name__ + ": "
    return kind + " ".join(str(error).split())


def check_seed(seed: int) -> None:
    """Refuse a negative seed of random numbers.

    Args:
        seed: the seed.

    Raises:
        InputError: it is negative.
    """
    if seed < 0:
        raise InputError(f"seed = {seed}: give a non-negative whole number")
