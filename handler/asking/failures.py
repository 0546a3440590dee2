"""Why a picture is not answered: one of three, which decide what happens next."""


class RefusedError(Exception):
    """This picture is answered with an error, or cannot be sent; the others may be answered."""


class UnreachableError(Exception):
    """No picture can be answered: no server, no token, no such model."""


class BusyError(Exception):
    """Not answered this time.

    Attributes:
        wait: Seconds that the server asks for; None: it does not say.
    """

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait
