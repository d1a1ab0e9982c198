"""Small programs of users, checked by four type checkers against the installed wheel, and never run.

A line that ends in ``# error`` must be reported by every checker, one in ``# error in mypy`` by that one alone, and no
other line by any: see ``check.py``.
"""
