"""A construction's report back from JSON, which may come from anyone: what is no report is refused."""

from __future__ import annotations

from autosubnet.errors import ExportError
from autosubnet.export.values import Json
from autosubnet.subnet.report import Report


def to_report(data: Json) -> Report:
    """Return the report that was written as ``dataclasses.asdict`` of it.

    Raises:
        ExportError: the data are no report.
    """
    try:
        before, after = _whole(data["num_params"])
        return Report(
            num_params=(before, after),
            removed_vertices=_words(data["removed_vertices"]),
            removed_params=_words(data["removed_params"]),
            kept={name: {int(dim): _whole(each) for dim, each in dims.items()} for name, dims in data["kept"].items()},
            capture_notes=_words(data["capture_notes"]),
            training_notes=_words(data["training_notes"]),
            constant_outputs=_words(data["constant_outputs"]),
            max_difference=_figure(data["max_difference"]),
            relative_difference=_figure(data["relative_difference"]),
            dtype=None if data["dtype"] is None else str(data["dtype"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ExportError(
            f"report.json is damaged ({error!r:.200}); delete it, the network does not need it"
        ) from error


def _whole(values: Json) -> tuple[int, ...]:
    if not isinstance(values, list) or not all(type(each) is int for each in values):
        raise TypeError(f"{values!r:.80} is no list of whole numbers")
    return tuple(values)


def _words(values: Json) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise TypeError(f"{values!r:.80} is no list of words")
    return tuple(values)


def _figure(value: Json) -> float | None:
    if value is not None and not isinstance(value, float):
        raise TypeError(f"{value!r:.80} is no figure")
    return value
