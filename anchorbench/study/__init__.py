"""What is asked for: the configuration, plugins, the plan that they make, digests and seeds."""
