"""What a decoder's output says about data: one file a likelihood, found by its name."""
