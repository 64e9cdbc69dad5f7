"""What alerting reads for people: events, deliveries, and the state of the whole."""
