"""Benchmarks: what an operation costs, beside what a user would pick instead.  They print, they assert nothing."""
