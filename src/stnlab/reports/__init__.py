"""Run directories to tables, comparisons and pages. Imports no torch."""
