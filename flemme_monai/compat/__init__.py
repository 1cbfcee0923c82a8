"""Other projects' packages that this one can stand in for: ``mamba_ssm`` and what belongs to it."""
