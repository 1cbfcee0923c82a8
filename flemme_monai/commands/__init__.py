"""What the command ``flemme-monai`` does, a module a command; ``tools/`` holds the same for a checkout."""
