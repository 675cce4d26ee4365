"""Breaks a running world on purpose and checks that the laws of DESIGN.md hold."""
