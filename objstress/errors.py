"""The ways in which objstress tells a caller that something is wrong with what it was given."""


class InputError(ValueError):
    """Input that cannot be used; the message is one line that names the thing and the way out."""


class ConvergenceError(RuntimeError):
    """A load step did not converge at the smallest size; the last accepted state is kept."""


class OutsideDomainWarning(UserWarning):
    """A law was evaluated at strains outside those it was trained on."""


def check_seed(seed: int) -> None:
    """Refuse a negative seed of random numbers."""
    if seed < 0:
        raise InputError(f"seed = {seed}: give a whole number that is not negative")
