"""The objectives again, in plain Python floats: a loop over responses, gradients derived by hand.

Written from the papers' equations and the edge rules, sharing nothing with espo_core. Each function takes the
responses of one batch and the algorithm's parameters and returns `Expected`.
"""
