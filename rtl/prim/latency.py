"""Latencies that one room promises and another counts on; every other pipeline's depth is in the file of its block."""

__all__ = ["FEED_LATENCY", "GATHER_LATENCY", "READ_LATENCY", "ACT_DELAY"]

FEED_LATENCY = 2        # activation memories: from the addresses of all banks to their words
GATHER_LATENCY = 3      # activation memories: from the place of one channel group to its codes
READ_LATENCY = 2        # weight buffer: memory and output register
ACT_DELAY = READ_LATENCY        # array: activations enter this many cycles after ``step`` and ``r_addr``
