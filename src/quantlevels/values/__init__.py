"""What the weights themselves show: damage, the precision that is really inside, and whether a file is intact.

Headers say how weights are stored. The modules here read the weights, by the places that the headers give, and judge
each tensor by its role. Only `quantlevels.values.records` can be imported without numpy.
"""
