"""Two-class data sets on the host: a synthetic one, two that come with scikit-learn, and LIBSVM files."""

from __future__ import annotations

import fileinput
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import CPU
from theorysim.model import Draw, TheorysimError
from theorysim.noise import Draws, Stream
from theorysim.validation import positive_integer

Floats = NDArray[np.float64]

BUILT_IN = ("census", "breast_cancer", "digits")
CENSUS_SAMPLES = 4781
CENSUS_GROUPS = (5, 8, 5, 16, 16, 7, 14, 6, 5, 2, 2, 2, 5, 30)
_CENSUS_DECAY = 1.3
_CATEGORIES, _WEIGHTS, _LABELS = Draw(0), Draw(1), Draw(2)
_LARGEST = 2**27  # entries of a data set held as a dense array: 1 GiB


@dataclass(frozen=True)
class Source:
    """Where a data set comes from, all of it: equal sources hold equal data.

    ``stamp``: size and time of change of a file, so that an edited file is read again. ``seed``: of a synthetic set, else 0.
    """

    data: str
    samples: int | None
    positive: tuple[float, ...] | None
    intercept: bool
    seed: int
    stamp: tuple[int, int]


def source(data: str, samples: int | None, positive: float | Sequence[float] | None, intercept: bool, seed: int) -> Source:
    """The Source of a user's request; TheorysimError for a name that is neither a built-in set nor a readable file."""
    if not isinstance(data, str):
        raise TheorysimError(f"data={data!r} is not text; give one of {', '.join(BUILT_IN)} or the path of a LIBSVM file")
    if samples is not None:
        positive_integer("samples", samples)
    if not isinstance(intercept, bool):
        raise TheorysimError(f"intercept={intercept!r} is not allowed; give True or False")
    labels = (positive,) if isinstance(positive, int | float) else positive
    stamp = (0, 0)
    if data not in BUILT_IN:
        try:
            status = Path(data).stat()
        except (OSError, ValueError) as error:
            raise _unreadable(data, error) from error
        stamp = (status.st_size, status.st_mtime_ns)
    return Source(data, samples, None if labels is None else tuple(labels), intercept, seed if data == "census" else 0, stamp)


@functools.lru_cache(maxsize=8)
def load(where: Source) -> tuple[Floats, Floats]:
    """Features (samples, dim) and labels (samples,) in {-1, +1}; read-only, shared by all who ask.

    The features of the built-in sets lie in [0, 1]: ``census`` one-hot, ``digits`` pixel / 16, ``breast_cancer`` each feature
    from its least to its largest value. A file's features are taken as they stand. Raises TheorysimError for a file that
    is unreadable, malformed (with the line), empty or too large, and for labels that are not two classes.
    """
    loaders = {"census": _census, "breast_cancer": _breast_cancer, "digits": _digits}
    features, raw = loaders[where.data](where) if where.data in loaders else _file(where.data)
    if where.samples is not None and where.samples > len(raw):
        raise TheorysimError(f"samples={where.samples}, but {where.data} holds {len(raw)}; give at most {len(raw)}")
    features, raw = features[: where.samples], raw[: where.samples]
    if where.intercept:
        features = np.hstack([features, np.ones((len(raw), 1))])
    labels = _signs(where, raw)
    features.flags.writeable = labels.flags.writeable = False
    return features, labels


def _signs(where: Source, raw: Floats) -> Floats:
    """+1 for the positive labels, by default the larger of two (for digits: the odd ones), -1 for the others."""
    classes = [float(value) for value in np.unique(raw)]
    positive = (1.0, 3.0, 5.0, 7.0, 9.0) if where.positive is None and where.data == "digits" else where.positive
    listed = ", ".join(f"{value:g}" for value in classes[:12])
    if positive is None and len(classes) != 2:
        raise TheorysimError(
            f"{where.data} has {len(classes)} classes ({listed}), not two; say by positive=... which count as +1"
        )
    signs = np.where(np.isin(raw, classes[1:] if positive is None else positive), 1.0, -1.0)
    if abs(signs.sum()) == len(signs):
        raise TheorysimError(f"positive={positive} puts all samples of {where.data} into one class; its labels are {listed}")
    return signs


def _census(where: Source) -> tuple[Floats, Floats]:
    """14 one-hot groups, rank k of a group with probability ~ k^-1.3, logistic labels from weights N(0, 1) / 2."""
    draws = Draws(CPU, where.seed, np.empty(0, dtype=np.int64))
    samples = where.samples or CENSUS_SAMPLES
    uniform = draws.shared_uniform(Stream.INSTANCE, _CATEGORIES, (samples, len(CENSUS_GROUPS)))
    blocks = []
    for group, size in enumerate(CENSUS_GROUPS):
        upper = np.cumsum(np.arange(1.0, size + 1) ** -_CENSUS_DECAY)
        category = np.searchsorted(upper[:-1] / upper[-1], uniform[:, group])
        blocks.append(np.eye(size)[category])
    features = np.hstack(blocks)
    weights = draws.shared_normal(Stream.INSTANCE, _WEIGHTS, (features.shape[1],)) / 2
    chance = 1 / (1 + np.exp(-features @ weights))
    return features, np.where(draws.shared_uniform(Stream.INSTANCE, _LABELS, (samples,)) < chance, 1.0, -1.0)


def _scikit_learn() -> Any:
    from sklearn import datasets

    return datasets


def _breast_cancer(_: Source) -> tuple[Floats, Floats]:
    features, labels = _scikit_learn().load_breast_cancer(return_X_y=True)
    least = features.min(axis=0)
    return (features - least) / (features.max(axis=0) - least), labels.astype(np.float64)


def digits() -> tuple[Floats, Floats]:
    """All 1797 images, 8 x 8 pixels / 16 as rows of 64, and the digits 0 to 9 they show."""
    features, labels = _scikit_learn().load_digits(return_X_y=True)
    return features / 16, labels.astype(np.float64)


def _digits(_: Source) -> tuple[Floats, Floats]:
    return digits()


def _file(path: str) -> tuple[Floats, Floats]:
    try:
        features, labels = _scikit_learn().load_svmlight_file(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    except (ValueError, IndexError, OverflowError) as error:
        raise _malformed(path, str(error)) from error
    if not len(labels):
        raise TheorysimError(f"{path} holds no samples; give a LIBSVM file with lines like '+1 3:0.5 7:1'")
    if features.shape[0] * features.shape[1] > _LARGEST:
        raise TheorysimError(
            f"{path} holds {features.shape[0]} samples of {features.shape[1]} features, too many for a dense array"
        )
    if not (np.isfinite(features.data).all() and np.isfinite(labels).all()):
        raise _malformed(path, "a number is not finite")
    return features.toarray(), labels


def _unreadable(data: str, error: Exception) -> TheorysimError:
    return TheorysimError(
        f"data={data!r} is neither one of {', '.join(BUILT_IN)} nor a readable LIBSVM file ({error}); check the name or the path"
    )


def _malformed(path: str, why: str) -> TheorysimError:
    """The error for a file that is no LIBSVM file, with its first bad line."""
    with fileinput.hook_compressed(path, "r", encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if complaint := _complaint(line.partition("#")[0].split()):
                return TheorysimError(f"{path}, line {number}: {complaint}; a line reads 'label index:value index:value ...'")
    return TheorysimError(f"{path} is no LIBSVM file: {why}")


def _complaint(words: list[str]) -> str:
    """What is wrong with the words of one line, or nothing."""
    if words and not _is_number(words[0]):
        return f"the label {words[0]!r} is not a finite number"
    last = -1
    for word in words[1:]:
        index, _, value = word.partition(":")
        if index == "qid":
            continue
        if not (index.isdecimal() and _is_number(value)):
            return f"{word!r} is not index:value with finite numbers"
        if int(index) <= last:
            return f"index {index} comes after {last}; they must increase"
        last = int(index)
    return ""


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False
