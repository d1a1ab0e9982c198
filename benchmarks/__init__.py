"""What quantlevels costs beside what it is compared with: ``python -m benchmarks [NAME ...] [--json]``.

- Every time is the median of CPU seconds (user and system); the sides of a comparison run in turns, in one process or
  each in new processes. Files are in the cache of the system.
- Garbage collection is off on all sides while the clock runs, and everything is collected before it starts.
- Memory is what the operating system counts (RSS), in a new process per side, after a small first call.
- Yardsticks are the least that a program can do (``json.loads`` of the same headers) and the fastest libraries for the
  same job that could be found. Install them with ``pip install --group benchmarks``.
"""
