"""Every change that a person makes."""
