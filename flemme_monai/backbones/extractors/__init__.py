"""Trunks of published networks: encoders that keep their publishers' names inside, so that their weights can be loaded."""
