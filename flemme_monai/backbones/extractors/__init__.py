"""Trunks of published networks: encoders with their publishers' names inside, for which there are weights."""
