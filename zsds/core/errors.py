"""The failures a user may meet, each one line long. All survive pickling."""

from collections.abc import Mapping


class ZsdsError(Exception):
    """Anything the user can understand and mend; the command line prints it as one line."""


class BadInput(ZsdsError):
    """A file or argument that cannot be used.

    Parameters
    ----------
    source : str
        The file (or argument) that is at fault.
    problem : str
        What is wrong with it.
    remedy : str
        What the user can do about it.
    """

    def __init__(self, source: str, problem: str, remedy: str = "") -> None:
        super().__init__(source, problem, remedy)
        self.source = str(source)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        text = f"{self.source}: {self.problem}"
        return f"{text}; {self.remedy}" if self.remedy else text


class WrongCall(BadInput):
    """An argument of a command that means nothing; the command ends with status 2."""


class SettingsError(ZsdsError):
    """An unknown setting, or a value of the wrong type."""


class UnusableData(ZsdsError):
    """The data of one unit are not good enough: the unit is rejected and the night goes on.

    Parameters
    ----------
    reason : str
        Why, in words that group well in a report ("too few stars for a PSF").
    numbers : mapping, optional
        The measurements that condemn it.
    """

    def __init__(self, reason: str, numbers: Mapping[str, float] | None = None) -> None:
        super().__init__(reason, dict(numbers or {}))
        self.reason = reason
        self.numbers = dict(numbers or {})

    def __str__(self) -> str:
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in self.numbers.items())
        return f"{self.reason} ({numbers})" if numbers else self.reason
