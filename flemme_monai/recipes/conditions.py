"""Numbers of a table as a condition of a network, and what a network receives of a batch."""

from __future__ import annotations

from .base import Config, component

COLUMNS: Config = {"condition_columns": None}  # of the table, numbers that the network receives
TABLE: Config = {"condition_table": None, **COLUMNS}
OF_TABLE = {"condition_table": "@condition_table", "condition_columns": "@condition_columns"}  # of lists of cases
NUM_COLUMNS = "len(flemme_monai.data.column_names(@condition_columns))"
# of the network that a training begins with
STATISTICS = {"context_statistics": "$flemme_monai.data.vector_statistics(@datalist['train'], @condition_columns)"}


def context_of_table(otherwise: str) -> str:
    """The kind of a network's context; ``otherwise`` is an expression of it without columns."""
    return f"$'vector' if @condition_columns else {otherwise}"


def size_of_context(otherwise: str) -> str:
    """How many numbers a context has; ``otherwise`` is an expression of it without columns."""
    return f"${NUM_COLUMNS} or {otherwise}"


def tell_condition(classes: str, name: str = "context", otherwise: str = "dict()") -> Config:
    """A batch's class or numbers go to the network, where it takes them.

    Args:
        classes: reference to the number of classes.
        name: what the network or inferer calls the context.
        otherwise: an expression of what goes to it in other bundles.
    """
    return component("flemme_monai.data.ContextPrepareBatch", extra_keys=f"${context_keys(classes, name, otherwise)}")


def context_keys(classes: str, name: str = "condition", otherwise: str = "dict()") -> str:
    """The expression of it, whose arguments are those of :func:`tell_condition`."""
    return f"dict({name}='vector') if @condition_columns else dict({name}='class_label') if {classes} else {otherwise}"
