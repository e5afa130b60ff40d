"""Prepared data and where they come from: containers, own tables, downloads, preprocessing."""
