"""``tf.metrics``: values that add up over many runs.

A metric is a pair ``(value, update_op)``: running the second takes one more batch into account (and
gives the value after it), the first is the value so far. The sums are local variables, in the
collections ``LOCAL_VARIABLES`` and ``METRIC_VARIABLES``, so they start anew with every session.

``weights`` must be broadcastable to the values; None counts all alike. ``metrics_collections``
and ``updates_collections`` are collections that the pair is added to.
"""
