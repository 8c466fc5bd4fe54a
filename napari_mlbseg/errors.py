"""The one exception that is meant for the person at the screen."""


class UserError(Exception):
    """Something the user can mend.

    The message says what came, what was expected and what to do next, in full sentences: the
    window and the command line show it as it is.
    """
