"""``python -m autosubnet.cli``, which ``accelerate launch`` needs."""

from autosubnet.cli import app

app()
