"""The one exception a user is meant to read."""


class StnlabError(Exception):
    """A wrong choice or a broken file: one line that says what is wrong and what would be right.

    Entry points print it without a traceback and exit with status 1. Anything else that escapes is a bug.
    """
