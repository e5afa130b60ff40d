"""What methods are built from: networks, likelihoods, priors, training, the base of deep ones."""
