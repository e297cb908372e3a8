"""Models learned by stochastic gradient descent: WARP, k-OS WARP, BPR, logistic."""
