"""The yardstick: what the polled page would be as an ordinary Django view. Never part of the product."""
