"""Sealed archives of a region at another of its sites: taken, looked after, checked, and put back."""
