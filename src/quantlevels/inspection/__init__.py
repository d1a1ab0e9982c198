"""Verdicts: what a checkpoint claims beside what it stores, totals, findings, sizes."""
