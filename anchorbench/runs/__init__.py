"""Doing what a plan asks for, and keeping it: prepare, fit, score, behind a guard; the store."""
