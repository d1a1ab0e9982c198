"""What quantlevels costs, beside what it may cost: ``python -m benchmarks [NAME ...]``.

Every budget is a ratio of two things measured in one run, so that it holds on any machine.
"""
